"""Stand-ins for gcloud and gh: programs whose calls change the local servers as the real ones change Google Cloud."""

import fnmatch
import json
import pathlib
import re
import shlex
import shutil
import socketserver
import sys
import tempfile
import threading
from collections.abc import Callable

from google.cloud import kms_v1

from pipeline.cloud.vertex import client, location
from pipeline.config import Config
from pipeline.doctor.access import APIS
from tests.emulators.cloud import Cloud

PROGRAM = """
import json, os, socket, sys
connection = socket.socket(socket.AF_UNIX)
connection.connect(sys.argv[1])
connection.sendall(json.dumps([os.getcwd(), *sys.argv[2:]]).encode())
connection.shutdown(socket.SHUT_WR)
answer = json.loads(b"".join(iter(lambda: connection.recv(65536), b"")))
sys.stdout.write(answer["out"])
sys.stderr.write(answer["err"])
sys.exit(answer["code"])
"""
IGNORED = ("config set project", "auth application-default login")  # they change the user's machine only


class Failed(Exception):
    """A call that the real program would refuse."""


class Programs:
    """A context manager: `folder`, for PATH, has the programs `gcloud` and `gh`; `gh` keeps the calls of the latter."""

    def __init__(self, cloud: Cloud, token: bytes = b"ghp_of-a-test"):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="spanloop-programs-"))
        self.cloud = cloud
        self.gh: list[list[str]] = []
        self.gcloud = Gcloud(cloud, token)
        address, program = self.folder / "socket", self.folder / "program.py"
        program.write_text(PROGRAM)
        for name in ("gcloud", "gh"):
            words = map(shlex.quote, (sys.executable, "-I", "-S", str(program), str(address), name))
            (self.folder / name).write_text(f'#!/bin/sh\nexec {" ".join(words)} "$@"\n')
            (self.folder / name).chmod(0o755)
        self._server = socketserver.UnixStreamServer(str(address), _handler(self._call))

    def _call(self, folder: str, name: str, *words: str) -> str:
        if name == "gcloud":
            return self.gcloud.call(list(words), pathlib.Path(folder))
        self.gh.append(list(words))
        return ""

    def __enter__(self) -> "Programs":
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        shutil.rmtree(self.folder)


def _handler(call: Callable[..., str]) -> type[socketserver.StreamRequestHandler]:
    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            words = json.loads(self.rfile.read())
            try:
                answer = {"code": 0, "out": call(*words), "err": ""}
            except Exception as error:
                answer = {"code": 1, "out": "", "err": f"ERROR: {shlex.join(words)}: {error!r}\n"}
            self.wfile.write(json.dumps(answer).encode())

    return Handler


class Gcloud:
    """The commands of gcloud that the pages use. No local server keeps workload identity pools, so they are here."""

    def __init__(self, cloud: Cloud, token: bytes):
        self._cloud, self._token = cloud, token
        self.pools: dict[str, set[str]] = {}  # the providers of each pool

    def call(self, words: list[str], folder: pathlib.Path) -> str:
        """Runs one command in a folder and returns what it prints. Raises an error where gcloud would fail."""
        self._folder = folder
        plain = [word for word in words if not word.startswith("--")]
        options = dict(word[2:].partition("=")[::2] for word in words if word.startswith("--"))
        if " ".join(plain).startswith(IGNORED):
            return ""
        if plain[-2] == "add-iam-policy-binding":
            return self._grant(" ".join(plain[:-2]), plain[-1], options)
        return getattr(self, f"_{plain[0]}")(plain[1:], options)

    def _grant(self, kind: str, name: str, options: dict[str, str]) -> str:
        project = f"projects/{self._cloud.project}"
        resources = {
            "projects": f"projects/{name}",
            "storage buckets": f"buckets/{name.removeprefix('gs://')}",
            "iam service-accounts": f"serviceAccounts/{name}",
            "artifacts repositories": f"{project}/locations/{options.get('location')}/repositories/{name}",
            "secrets": f"{project}/secrets/{name}",
            "kms keys": f"{project}/locations/{options.get('location')}/keyRings/{options.get('keyring')}"
            f"/cryptoKeys/{name}",
        }
        member = options["member"].removeprefix("serviceAccount:")
        self._cloud.policies.grant(resources[kind], options["role"], member)
        return ""

    def _projects(self, words: list[str], options: dict[str, str]) -> str:
        if words != ["describe", self._cloud.project] or options != {"format": "value(projectNumber)"}:
            raise Failed("unknown")
        return f"{self._cloud.project_number}\n"

    def _services(self, words: list[str], options: dict[str, str]) -> str:
        self._cloud.apis.disabled -= set(words[1:])
        return ""

    def _storage(self, words: list[str], options: dict[str, str]) -> str:
        store = self._cloud.gcs.store
        match words:
            case ["buckets", "create", address]:
                store.create_bucket(address.removeprefix("gs://"), self._cloud.project)
            case ["buckets", "update", address] if options.keys() == {"cors-file"}:
                cors = json.loads((self._folder / options["cors-file"]).read_text())
                store.bucket(address.removeprefix("gs://")).properties["cors"] = cors
            case ["rm", address] if "recursive" in options:
                for name in self._cloud.gcs.names(f"{address}/"):
                    self._cloud.gcs.delete(f"{address}/{name}")
                store.delete_bucket(address.removeprefix("gs://"))
            case ["rsync", source, target] if "recursive" in options:
                bucket, _, prefix = source.removeprefix("gs://").partition("/")
                for name in self._cloud.gcs.names(f"{source}/"):
                    data = self._cloud.gcs.read(f"gs://{bucket}/{name}")
                    self._cloud.gcs.put(f"{target}{name.removeprefix(prefix)}", data)
            case _:
                raise Failed("unknown")
        return ""

    def _artifacts(self, words: list[str], options: dict[str, str]) -> str:
        _, verb, name = words
        if options["location"] != self._cloud.region:
            raise Failed(f"no repository {name} in {options['location']}")
        if verb == "create":
            self._cloud.registry.add(name, format=options["repository-format"].upper())
        else:
            found = f"projects/{self._cloud.project}/locations/{self._cloud.region}/repositories/{name}"
            self._cloud.registry.repositories.pop(found)
        return ""

    def _secrets(self, words: list[str], options: dict[str, str]) -> str:
        verb, name = words
        secret = f"projects/{self._cloud.project}/secrets/{name}"
        if verb == "create":
            self._cloud.secrets.add(secret, self._token)
        else:
            self._cloud.secrets.remove(secret)
        return ""

    def _kms(self, words: list[str], options: dict[str, str]) -> str:
        keys = kms_v1.KeyManagementServiceClient(transport="rest")
        location = f"projects/{self._cloud.project}/locations/{options['location']}"
        ring = f"{location}/keyRings/{options.get('keyring')}"
        match words:
            case ["keyrings", "create", name]:
                keys.create_key_ring(parent=location, key_ring_id=name, key_ring={})
            case ["keys", "create", name] if options["purpose"] == "asymmetric-signing":
                algorithm = options["default-algorithm"].upper().replace("-", "_")
                key = {"purpose": "ASYMMETRIC_SIGN", "version_template": {"algorithm": algorithm}}
                keys.create_crypto_key(parent=ring, crypto_key_id=name, crypto_key=key)
            case ["keys", "versions", "get-public-key", number]:
                version = f"{ring}/cryptoKeys/{options['key']}/cryptoKeyVersions/{number}"
                return keys.get_public_key(name=version).pem
            case _:
                raise Failed("unknown")
        return ""

    def _iam(self, words: list[str], options: dict[str, str]) -> str:
        *kind, verb, name = words
        if kind == ["service-accounts"]:
            accounts = self._cloud.accounts.accounts
            if verb == "create":
                accounts[f"{name}@{self._cloud.project}.iam.gserviceaccount.com"] = False
            else:
                accounts.pop(name)
        elif verb == "delete":
            self.pools.pop(name)  # with its providers
        elif pool := options.get("workload-identity-pool"):
            self.pools[pool].add(name)
        else:
            self.pools[name] = set()
        return ""

    def _ai(self, words: list[str], options: dict[str, str]) -> str:
        config = Config(project=self._cloud.project, region=options["region"])
        services = {"endpoints": client(config, "EndpointService"), "models": client(config, "ModelService")}
        kind, verb, *names = words
        service = services[kind]
        match verb, names:
            case "list", []:
                pattern = re.fullmatch(r"displayName[:=](.+)", options["filter"])[1]
                listed = getattr(service, f"list_{kind}")(parent=location(config))
                return "".join(f"{each.name}\n" for each in listed if fnmatch.fnmatchcase(each.display_name, pattern))
            case "describe", [name]:
                return "".join(f"{deployed.id}\n" for deployed in service.get_endpoint(name=name).deployed_models)
            case "update", [name] if options.keys() == {"region", "clear-traffic-split"}:
                service.update_endpoint(endpoint={"name": name}, update_mask={"paths": ["traffic_split"]})
            case "undeploy-model", [name]:
                service.undeploy_model(endpoint=name, deployed_model_id=options["deployed-model-id"]).result(60)
            case "delete", [name]:
                getattr(service, f"delete_{kind.removesuffix('s')}")(name=name).result(60)
            case _:
                raise Failed("unknown")
        return ""


def new_project(cloud: Cloud) -> None:
    """Takes from the local servers all that a new project of Google Cloud lacks."""
    cloud.policies.clear()
    cloud.accounts.accounts.clear()
    cloud.gcs.store.clear()
    cloud.apis.disabled.update(f"{api}.googleapis.com" for api in APIS)
