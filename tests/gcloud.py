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
from pipeline.setup.resources import apis
from tests.emulators.cloud import Cloud
from tests.emulators.policies import OWNER

PROGRAM = """
import json, os, socket, sys
connection = socket.socket(socket.AF_UNIX)
connection.connect(sys.argv[1])
connection.sendall(json.dumps(sys.argv[2:]).encode())
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

    def __init__(self, cloud: Cloud):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="spanloop-programs-"))
        self.cloud = cloud
        self.gh: list[list[str]] = []
        self.gcloud = Gcloud(cloud)
        address, program = self.folder / "socket", self.folder / "program.py"
        program.write_text(PROGRAM)
        for name in ("gcloud", "gh"):
            words = map(shlex.quote, (sys.executable, "-I", "-S", str(program), str(address), name))
            (self.folder / name).write_text(f'#!/bin/sh\nexec {" ".join(words)} "$@"\n')
            (self.folder / name).chmod(0o755)
        self._server = socketserver.UnixStreamServer(str(address), _handler(self._call))

    def _call(self, name: str, *words: str) -> str:
        if name == "gcloud":
            return self.gcloud.call(list(words))
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
    """The commands of gcloud that the pages use."""

    def __init__(self, cloud: Cloud):
        self._cloud = cloud

    def call(self, words: list[str]) -> str:
        """Runs one command and returns what it prints. Raises an error where gcloud would fail."""
        plain = [word for word in words if not word.startswith("--")]
        options = dict(word[2:].partition("=")[::2] for word in words if word.startswith("--"))
        if " ".join(plain).startswith(IGNORED):
            return ""
        return getattr(self, f"_{plain[0]}")(plain[1:], options)

    def _projects(self, words: list[str], options: dict[str, str]) -> str:
        if words != ["describe", self._cloud.project] or options != {"format": "value(projectNumber)"}:
            raise Failed("unknown")
        return f"{self._cloud.project_number}\n"

    def _storage(self, words: list[str], options: dict[str, str]) -> str:
        store = self._cloud.gcs.store
        match words:
            case ["buckets", "create", address]:
                store.create_bucket(address.removeprefix("gs://"), self._cloud.project)
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
        if verb != "delete" or options["location"] != self._cloud.region:
            raise Failed(f"no repository {name} in {options['location']}")
        found = f"projects/{self._cloud.project}/locations/{self._cloud.region}/repositories/{name}"
        self._cloud.registry.repositories.pop(found)
        return ""

    def _secrets(self, words: list[str], options: dict[str, str]) -> str:
        verb, name = words
        if verb != "delete":
            raise Failed("unknown")
        self._cloud.secrets.remove(f"projects/{self._cloud.project}/secrets/{name}")
        return ""

    def _kms(self, words: list[str], options: dict[str, str]) -> str:
        if words[:3] != ["keys", "versions", "get-public-key"]:
            raise Failed("unknown")
        ring = f"projects/{self._cloud.project}/locations/{options['location']}/keyRings/{options['keyring']}"
        keys = kms_v1.KeyManagementServiceClient(transport="rest")
        return keys.get_public_key(name=f"{ring}/cryptoKeys/{options['key']}/cryptoKeyVersions/{words[3]}").pem

    def _iam(self, words: list[str], options: dict[str, str]) -> str:
        *kind, verb, name = words
        if kind == ["service-accounts"] and verb == "delete":
            self._cloud.accounts.accounts.pop(name)
        elif kind == ["workload-identity-pools"] and verb == "delete":
            self._cloud.pools.delete(name)
        else:
            raise Failed("unknown")
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


def new_project(cloud: Cloud) -> pathlib.Path:
    """Takes from the local servers all that a new project of Google Cloud lacks; returns the key of its owner."""
    owner = "owner@another-project.iam.gserviceaccount.com"
    cloud.policies.clear()
    cloud.policies.grant(f"projects/{cloud.project}", OWNER, owner)
    cloud.accounts.accounts.clear()
    cloud.gcs.store.clear()
    # https://cloud.google.com/service-usage/docs/enabled-service#default
    enabled = ("serviceusage.googleapis.com", "storage.googleapis.com")
    cloud.apis.disabled.update(set(apis(Config())).difference(enabled))
    return cloud.oauth.key_file(owner)
