"""How everything here names and reaches what it has on Vertex AI."""

import functools
import re
from typing import Any

from pipeline.cloud.calls import without_support_warnings
from pipeline.config import Config, Machine


def client(config: Config, service: str) -> Any:
    """Returns the client of a service, such as "EndpointService", in the region of `config`."""
    return cached_client(config.region, service)


@functools.lru_cache
def cached_client(region: str, service: str) -> Any:
    """Makes a client. Each reads the credentials anew and opens a connection of its own, so a process makes one."""
    with without_support_warnings():
        from google.cloud import aiplatform_v1  # takes two seconds

    options = {"api_endpoint": f"{region}-aiplatform.googleapis.com"}
    return getattr(aiplatform_v1, f"{service}Client")(client_options=options)


def location(config: Config) -> str:
    """Returns what is above all of our resources: projects/PROJECT/locations/REGION."""
    return f"projects/{config.project}/locations/{config.region}"


def console_url(config: Config, path: str) -> str:
    """Returns the address of a page of Vertex AI for people, such as "models" or "endpoints"."""
    return f"https://console.cloud.google.com/vertex-ai/{path}?project={config.project}"


def encryption(config: Config) -> dict[str, str] | None:
    """Returns the `encryption_spec` of a new resource; None where Google's own key is used."""
    return {"kms_key_name": config.encryption_key} if config.encryption_key else None


def machine_spec(machine: Machine) -> dict[str, Any]:
    """Returns a machine as Vertex AI names it."""
    accelerator = {"accelerator_type": machine.accelerator, "accelerator_count": machine.accelerators}
    return {"machine_type": machine.type} | (accelerator if machine.accelerators else {})


def label_value(text: str) -> str:
    """Returns `text` as a value that labels take: at most 63 of lower-case letters, digits, _ and -."""
    return re.sub(r"[^a-z0-9_-]+", "_", text.lower())[:63]
