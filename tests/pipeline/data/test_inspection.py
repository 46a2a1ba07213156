import numpy as np
import pytest

from pipeline.data.inspection import divergence


def test_the_divergence_of_a_distribution_from_itself_is_0_and_of_what_has_nothing_in_common_1():
    dark, bright = np.full(50, 10.0), np.full(20, 240.0)
    assert divergence(dark, dark, 255) == 0
    assert divergence(dark, bright, 255) == pytest.approx(1)
    mixed = np.concatenate([dark, np.full(50, 240.0)])
    # half of the mass is shared: 0.75 * log2(1/0.75) + ... as computed by scipy.spatial.distance.jensenshannon ** 2
    assert divergence(dark, mixed, 255) == pytest.approx(0.311278, abs=1e-6)
    assert divergence(mixed, dark, 255) == divergence(dark, mixed, 255)
