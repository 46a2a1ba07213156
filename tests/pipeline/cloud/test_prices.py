import pytest

from pipeline.cloud.machines import TYPES
from pipeline.cloud.prices import MEMORY, per_hour
from pipeline.config import Config, Machine


# of https://cloud.google.com/vertex-ai/pricing
@pytest.mark.parametrize(
    ("machine", "dollars"),
    [
        (Machine("n1-standard-4"), 0.2185),
        (Machine("e2-standard-4"), 0.1541),
        (Machine("n1-standard-8", "NVIDIA_TESLA_T4", 2), 2 * 0.2185 + 2 * 0.4025),
    ],
)
def test_prices_are_those_of_the_list(machine, dollars):
    assert per_hour(machine) == pytest.approx(dollars, abs=1e-4)


def test_what_the_table_lacks_has_no_price():
    for machine in (Machine("a2-highgpu-1g", "NVIDIA_TESLA_A100", 1), Machine("n1-standard-4", "NVIDIA_TESLA_P4", 1)):
        assert per_hour(machine) is None
    assert per_hour(Machine("n1-standard-huge")) is None


def test_the_default_machines_have_a_price_and_every_priced_kind_exists():
    assert all(map(per_hour, [*Config().machines, Config().server]))
    assert {kind for kind in MEMORY if f"{kind}-4" not in TYPES} == set()
