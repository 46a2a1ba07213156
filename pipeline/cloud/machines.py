"""Machine types of Vertex AI, and the accelerators that each may have: so that a typo is met before a run begins.

The lists are those of https://cloud.google.com/vertex-ai/docs/training/configure-compute and
https://cloud.google.com/vertex-ai/docs/predictions/configure-compute, together. A series that is in neither may be
newer than they are, so it is not refused.
"""

from pipeline.config import Config, Machine
from pipeline.errors import ConfigError

# {series and kind: sizes}
SIZES = {
    "c2-standard": "4 8 16 30 60",
    "c3-highcpu": "4 8 22 44 88 176",
    "c3-standard": "4 8 22 44 88 176",
    "c3-highmem": "4 8 22 44 88 176",
    "e2-standard": "2 4 8 16 32",
    "e2-highmem": "2 4 8 16",
    "e2-highcpu": "2 4 8 16 32",
    "m1-megamem": "96",
    "m1-ultramem": "40 80 160",
    "n1-standard": "2 4 8 16 32 64 96",
    "n1-highmem": "2 4 8 16 32 64 96",
    "n1-highcpu": "2 4 8 16 32 64 96",
    "n2-standard": "2 4 8 16 32 48 64 80 96 128",
    "n2-highmem": "2 4 8 16 32 48 64 80 96 128",
    "n2-highcpu": "2 4 8 16 32 48 64 80 96",
    "n2d-standard": "2 4 8 16 32 48 64 80 96 128 224",
    "n2d-highmem": "2 4 8 16 32 48 64 80 96",
    "n2d-highcpu": "2 4 8 16 32 48 64 80 96 128 224",
    "n4-standard": "2 4 8 16 32 48 64 80",
    "n4-highmem": "2 4 8 16 32 48 64 80",
    "n4-highcpu": "2 4 8 16 32 48 64 80",
}
TYPES = frozenset(f"{kind}-{size}" for kind, sizes in SIZES.items() for size in sizes.split())

# {machine type: what it always has}: https://cloud.google.com/compute/docs/accelerator-optimized-machines
WITH_ACCELERATORS = {
    **{f"a2-highgpu-{count}g": ("NVIDIA_TESLA_A100", count) for count in (1, 2, 4, 8)},
    "a2-megagpu-16g": ("NVIDIA_TESLA_A100", 16),
    **{f"a2-ultragpu-{count}g": ("NVIDIA_A100_80GB", count) for count in (1, 2, 4, 8)},
    **{f"a3-highgpu-{count}g": ("NVIDIA_H100_80GB", count) for count in (1, 2, 4, 8)},
    "a3-edgegpu-8g": ("NVIDIA_H100_80GB", 8),
    "a3-megagpu-8g": ("NVIDIA_H100_MEGA_80GB", 8),
    "a3-ultragpu-8g": ("NVIDIA_H200_141GB", 8),
    "a4-highgpu-8g": ("NVIDIA_B200", 8),
    "a4x-highgpu-4g": ("NVIDIA_GB200", 4),
    **{f"g2-standard-{size}": ("NVIDIA_L4", 1) for size in (4, 8, 12, 16, 32)},
    **{f"g2-standard-{size}": ("NVIDIA_L4", count) for size, count in ((24, 2), (48, 4), (96, 8))},
    **{f"g4-standard-{48 * count}": ("NVIDIA_RTX_PRO_6000", count) for count in (1, 2, 4, 8)},
}

# What is attached to a machine of the series N1, and how many: https://cloud.google.com/compute/docs/gpus#n1-gpus
FOR_N1 = {
    "NVIDIA_TESLA_P4": (1, 2, 4),
    "NVIDIA_TESLA_P100": (1, 2, 4),
    "NVIDIA_TESLA_T4": (1, 2, 4),
    "NVIDIA_TESLA_V100": (1, 2, 4, 8),
}

_SERIES = frozenset(name.partition("-")[0] for name in (*TYPES, *WITH_ACCELERATORS))


def is_known(machine: Machine) -> bool:
    """True for a machine type of a series that the lists have; only such a one can be found wrong."""
    return machine.type.partition("-")[0] in _SERIES


def mistake(machine: Machine) -> str:
    """Returns why Vertex AI refuses a machine, "" where nothing is wrong with it or nothing is known of it."""
    if not is_known(machine):
        return ""
    if machine.type in WITH_ACCELERATORS:
        accelerator, count = WITH_ACCELERATORS[machine.type]
        if machine.accelerator != accelerator or machine.accelerators not in range(1, count + 1):
            return f"{machine.type} has {count} {accelerator}: write {machine.type}:{accelerator}:{count}"
        return ""
    if machine.type not in TYPES:
        series, *_ = machine.type.split("-")
        near = sorted((name for name in (*TYPES, *WITH_ACCELERATORS) if name.startswith(f"{series}-")), key=_by_size)
        return f"{machine.type} does not exist; of {series.upper()} there are {', '.join(near)}"
    if machine.accelerator and not machine.type.startswith("n1-"):
        return f"{machine.type} takes no accelerator: only N1 does, and types such as g2-standard-8 that have one"
    if machine.accelerator and machine.accelerator not in FOR_N1:
        return f"{machine.type} takes no {machine.accelerator}, but {', '.join(FOR_N1)}"
    if machine.accelerator and machine.accelerators not in FOR_N1[machine.accelerator]:
        counts = ", ".join(map(str, FOR_N1[machine.accelerator]))
        return f"{machine.type} takes {counts} of {machine.accelerator}, not {machine.accelerators}"
    return ""


def _by_size(name: str) -> tuple[str, int]:
    kind, _, size = name.rpartition("-")
    return kind, int(size.rstrip("g"))


def named(config: Config) -> dict[str, list[Machine]]:
    """Returns the machines that the settings name, by the variable."""
    found = {"TRAINING_MACHINES": config.machines, "DEVICE_TRAINING_MACHINES": config.device_machines}
    return found | {"SERVING_MACHINE": [config.server]}


def check(config: Config) -> None:
    """Raises ConfigError for a machine type that does not exist, or that cannot have its accelerator."""
    for variable, machines in named(config).items():
        for machine in machines:
            if wrong := mistake(machine):
                raise ConfigError(variable, format_machine(machine), f"a machine of Vertex AI: {wrong}")


def format_machine(machine: Machine) -> str:
    """Returns a machine as settings name it."""
    return f"{machine.type}:{machine.accelerator}:{machine.accelerators}" if machine.accelerators else machine.type
