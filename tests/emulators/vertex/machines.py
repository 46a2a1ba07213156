"""Validation of machine types and accelerators, by the table of pipeline/cloud/machines.py, and quotas."""

import re
from typing import Any

from google.cloud import aiplatform_v1 as types
from grpc import StatusCode

from pipeline.cloud import machines
from pipeline.config import Machine
from tests.emulators.services import Refused
from tests.emulators.vertex.names import invalid


class Machines:
    """`quota` limits the number of an accelerator or machine type in use; types that it does not name are unlimited."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.quota: dict[str, int] = {}

    def check(self, spec: Any, metric: str, replicas: int = 1) -> None:
        """Raises Refused for an invalid machine, or when the quota is exceeded."""
        accelerator = types.AcceleratorType(spec.accelerator_type)
        if bool(accelerator) != bool(spec.accelerator_count):
            raise invalid("machine_spec: accelerator_type and accelerator_count must be given together.")
        machine = Machine(spec.machine_type, accelerator.name if accelerator else "", spec.accelerator_count)
        if not machines.is_known(machine) or machines.mistake(machine):
            where = "https://cloud.google.com/vertex-ai/docs/training/configure-compute"
            text = f"Machine type {machines.format_machine(machine)!r} is not supported"
            raise invalid(f"machine_spec.machine_type: {text}. Supported machine types: {where}")
        wanted = {spec.machine_type: replicas}
        if accelerator:
            wanted[accelerator.name] = spec.accelerator_count * replicas
        for name, count in wanted.items():
            if count > self.quota.get(name, count):
                gpu = re.fullmatch(r"NVIDIA_(?:TESLA_)?(\w+)", name)
                what = f"nvidia_{gpu[1].lower()}_gpus" if gpu else "cpus"
                raise Refused(
                    StatusCode.RESOURCE_EXHAUSTED,
                    f"The following quota metrics exceed quota limits: aiplatform.googleapis.com/{metric}_{what}",
                )
