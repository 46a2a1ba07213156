"""Prices of machines on Vertex AI, to estimate what a run costs.

They are those of the region us-central1; other regions differ, and prices change. A machine that
is not in the table has no price here.
"""

from pipeline.config import Machine

ADDRESS, DATE = "https://cloud.google.com/vertex-ai/pricing", "October 2026"
RUN = 0.03  # dollars for each run of a pipeline

# Dollars an hour for a vCPU and for a GB of memory: n1-standard-4 is $0.2185, e2-standard-4 $0.1541.
VCPU_AND_GB = {"e2": (0.025083, 0.0033621), "n1": (0.036353, 0.0048726)}
# GB for a vCPU: https://cloud.google.com/compute/docs/general-purpose-machines
MEMORY = {
    "e2-standard": 4.0,
    "e2-highmem": 8.0,
    "e2-highcpu": 1.0,
    "n1-standard": 3.75,
    "n1-highmem": 6.5,
    "n1-highcpu": 0.9,
}
ACCELERATORS = {"NVIDIA_TESLA_T4": 0.4025, "NVIDIA_TESLA_V100": 2.852}  # dollars an hour


def per_hour(machine: Machine) -> float | None:
    """Returns about how many dollars a machine costs an hour; None where that is not known here."""
    kind, _, vcpus = machine.type.rpartition("-")
    if kind not in MEMORY or not vcpus.isdecimal() or (machine.accelerator and machine.accelerator not in ACCELERATORS):
        return None
    vcpu, gigabyte = VCPU_AND_GB[kind.partition("-")[0]]
    accelerators = machine.accelerators * ACCELERATORS.get(machine.accelerator, 0.0)
    return int(vcpus) * (vcpu + MEMORY[kind] * gigabyte) + accelerators
