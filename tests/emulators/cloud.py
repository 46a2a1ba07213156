"""Local servers of Google Cloud: certificate authority, proxy and every service, in threads of one process."""

import fnmatch
import pathlib
import shutil
import socket
import ssl
import tempfile
import threading
from collections.abc import Callable
from typing import Any

from tests.emulators import grpc_server
from tests.emulators.authority import Authority
from tests.emulators.faults import Faults
from tests.emulators.gateway import Gateway, RecordedCall
from tests.emulators.gcs.service import Gcs
from tests.emulators.oauth import OAuth
from tests.emulators.proxy import Proxy
from tests.emulators.services import Service

# Only these hosts are reached without the proxy.
_DIRECT = "127.0.0.1,localhost"


def services(cloud: "Cloud") -> dict[str, Service]:
    """Every service by the name of its attribute, such as `cloud.gcs`. A new service is one import and one line."""
    from tests.emulators.artifact_registry import ArtifactRegistry
    from tests.emulators.cloud_build import CloudBuild
    from tests.emulators.dataflow import Dataflow
    from tests.emulators.firebase_ml import FirebaseMl
    from tests.emulators.github.service import GitHub
    from tests.emulators.iam import Iam
    from tests.emulators.identity_pools import IdentityPools
    from tests.emulators.kms import Kms
    from tests.emulators.policies import Policies
    from tests.emulators.resource_manager import ResourceManager
    from tests.emulators.secret_manager import SecretManager
    from tests.emulators.service_usage import ServiceUsage
    from tests.emulators.vertex.service import Vertex

    return {
        "gcs": Gcs(cloud),
        "policies": Policies(cloud),
        "secrets": SecretManager(cloud),
        "kms": Kms(cloud),
        "projects": ResourceManager(cloud),
        "accounts": Iam(cloud),
        "pools": IdentityPools(cloud),
        "apis": ServiceUsage(cloud),
        "registry": ArtifactRegistry(cloud),
        "builds": CloudBuild(cloud),
        "vertex": Vertex(cloud),
        "dataflow": Dataflow(cloud),
        "firebase": FirebaseMl(cloud),
        "github": GitHub(cloud),
    }


class _Host:
    """The services of one host name; created at its first connection."""

    def __init__(self, name: str, found: list[Service], authority: Authority, ports: Callable[[Service, str], int]):
        self._name = name
        self.services = found
        self._context = authority.context([name])
        self._ports = ports

    def tls(self, connection: socket.socket) -> ssl.SSLSocket:
        return self._context.wrap_socket(connection, server_side=True)

    def grpc_port(self) -> int:
        server = next((service for service in self.services if service.rpcs()), self.services[0])
        return self._ports(server, self._name)


class Cloud:
    """A context manager that starts and stops all servers.

    `environment` holds the variables that a client process needs; the clients' code does not change. `requests` are the
    calls in order; `refused` are the hosts that clients tried to reach and that no local server has.
    """

    project = "spanloop-local"
    project_number = "123456789012"
    region = "europe-west1"
    bucket = "spanloop-local"
    account = f"pipelines@{project}.iam.gserviceaccount.com"
    builder = f"builds@{project}.iam.gserviceaccount.com"
    image_repository = f"{region}-docker.pkg.dev/{project}/spanloop/pipelines"  # `cloud.registry.add("spanloop")` first

    gcs: Gcs
    vertex: Any
    builds: Any
    dataflow: Any
    firebase: Any
    github: Any
    secrets: Any
    kms: Any
    projects: Any

    def __init__(self, make: Callable[["Cloud"], dict[str, Service]] = services):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="spanloop-cloud-"))
        self.requests: list[RecordedCall] = []
        self.refused: list[str] = []
        self.faults = Faults()
        self._starting = threading.Lock()
        self._hosts: dict[str, _Host | None] = {}
        self._grpc: dict[str, tuple[Any, int]] = {}  # by host; a server without a reference is garbage-collected
        self.authority = Authority(self.folder)
        self.oauth = OAuth(self)
        self._proxy = Proxy(self._find, self.refused)
        self.environment = self._make_environment()
        self._services: list[Service] = [self.oauth]
        gateway = Gateway(self.faults, self.oauth, self.requests, self.project_number)
        for attribute, service in make(self).items():
            setattr(self, attribute, service)
            self._services.append(service)
        for service in self._services:
            service.gateway = gateway
            # Two services may be one for clients: objects and IAM policies of Cloud Storage.
            gateway.scopes[service.name] = gateway.scopes.get(service.name, frozenset()).union(service.scopes)
            if service.name == "serviceusage":
                gateway.disabled = service.disabled
        self.reset()

    def _make_environment(self) -> dict[str, str]:
        proxy, certificate = f"http://127.0.0.1:{self._proxy.port}", str(self.authority.certificate)
        both_cases = {"HTTPS_PROXY": proxy, "HTTP_PROXY": proxy, "NO_PROXY": _DIRECT}
        return {
            **both_cases,
            **{name.lower(): value for name, value in both_cases.items()},  # TensorFlow reads the lower case only
            "CURL_CA_BUNDLE": certificate,
            "REQUESTS_CA_BUNDLE": certificate,
            "SSL_CERT_FILE": certificate,  # obstore
            "HTTPLIB2_CA_CERTS": certificate,  # Dataflow's client in Beam
            "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": certificate,
            "NO_GCE_CHECK": "true",
            # TensorFlow waits one second, then two and so on between attempts, which local servers do not need.
            "GCS_RETRY_CONFIG_INIT_DELAY_TIME_US": "10000",
            "GOOGLE_APPLICATION_CREDENTIALS": str(self.oauth.key_file(self.account)),
            "GOOGLE_CLOUD_PROJECT": self.project,
            "GCP_PROJECT": self.project,
            "GCP_REGION": self.region,
            "PIPELINE_SERVICE_ACCOUNT": self.account,
            "BUILD_SERVICE_ACCOUNT": self.builder,
            "IMAGE_REPOSITORY": self.image_repository,
        }

    def _find(self, name: str) -> _Host | None:
        """The services of a host name; None when no local server has it."""
        with self._starting:
            if name not in self._hosts:
                matching = [
                    service
                    for service in self._services
                    if any(fnmatch.fnmatchcase(name, pattern) for pattern in service.hosts)
                ]
                self._hosts[name] = _Host(name, matching, self.authority, self._grpc_port) if matching else None
            return self._hosts[name]

    def _grpc_port(self, service: Service, host: str) -> int:
        with self._starting:
            if host not in self._grpc:
                self._grpc[host] = grpc_server.start(service, self.authority, host)
            return self._grpc[host][1]

    def asked(self, service: str = "*", method: str = "*") -> list[RecordedCall]:
        """The calls so far of a service and a method; `*` matches anything."""
        return [
            call
            for call in list(self.requests)
            if fnmatch.fnmatchcase(call.service, service) and fnmatch.fnmatchcase(call.method, method)
        ]

    def asked_of_services(self) -> list[RecordedCall]:
        """The calls so far except those for tokens, which threads of clients of earlier tests may still make."""
        return [call for call in self.asked() if call.service != self.oauth.name]

    def reset(self) -> None:
        """Resets all servers: one empty bucket, no log, no faults. Tokens that clients hold stay valid."""
        self.faults.clear()
        for service in self._services:
            service.reset()
        self.requests.clear()
        self.refused.clear()

    def close(self) -> None:
        self._proxy.close()
        for server, _ in self._grpc.values():
            server.stop(grace=None)
        for service in self._services:
            service.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> "Cloud":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
