"""Clients of Vertex AI, and the names, labels and machine specs that its requests need."""

import functools
import importlib
import re
from typing import Any

from pipeline.cloud.calls import cloud_errors, without_support_warnings
from pipeline.config import Config, Machine


def client(config: Config, service: str, version: str = "v1") -> Any:
    """Returns the client of a service such as "EndpointService" in the region of `config`; version v1 or v1beta1."""
    return cached_client(config.region, service, version)


@functools.lru_cache
def cached_client(region: str, service: str, version: str = "v1") -> Any:
    """Returns this process's client of a service: each client reads the credentials and opens a connection.

    Raises NoCredentials.
    """
    with without_support_warnings():
        api = importlib.import_module(f"google.cloud.aiplatform_{version}")  # takes two seconds

    options = {"api_endpoint": f"{region}-aiplatform.googleapis.com"}
    with cloud_errors("Signing in to Vertex AI"):
        return getattr(api, f"{service}Client")(client_options=options)


def location(config: Config) -> str:
    """Returns the parent of all resources: projects/PROJECT/locations/REGION."""
    return f"projects/{config.project}/locations/{config.region}"


def console_url(config: Config, path: str) -> str:
    """Returns the URL of a page of Vertex AI in Google's console, such as "models" or "endpoints"."""
    return f"https://console.cloud.google.com/vertex-ai/{path}?project={config.project}"


def encryption(config: Config) -> dict[str, str] | None:
    """Returns the `encryption_spec` of a new resource; None for a key that Google manages."""
    return {"kms_key_name": config.encryption_key} if config.encryption_key else None


def machine_spec(machine: Machine) -> dict[str, Any]:
    """Returns a machine as a `machine_spec` of Vertex AI."""
    accelerator = {"accelerator_type": machine.accelerator, "accelerator_count": machine.accelerators}
    return {"machine_type": machine.type} | (accelerator if machine.accelerators else {})


def label_value(text: str) -> str:
    """Returns `text` as the value of a label: at most 63 lower-case letters, digits, _ and -."""
    return re.sub(r"[^a-z0-9_-]+", "_", text.lower())[:63]
