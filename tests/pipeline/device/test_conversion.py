"""A converted model is the one that was trained: each variant is compared with it, and lost weights are noticed."""

import numpy as np
import pytest

from pipeline.device import conversion, description
from pipeline.device.conversion import ConversionFailed, Variant
from pipeline.device.litert import LiteRTModel


@pytest.fixture(scope="module")
def converted(trained_device_model, tmp_path_factory):
    """Function from a variant to the path of its file."""
    folder = str(tmp_path_factory.mktemp("converted"))
    return lambda variant: conversion.convert(
        trained_device_model.folder, folder, variant, trained_device_model.images[:32]
    )


def compared(trained, path):
    expected = conversion.probabilities(trained.folder, trained.images)
    return conversion.compare(path, expected, trained.images, trained.labels)


# What a network of 4,000 parameters may lose. benchmarks/device_conversion.py measures larger ones.
@pytest.mark.parametrize(
    ("variant", "difference", "changed"), [("fp32", 1e-5, 0), ("fp16", 0.01, 1), ("dynamic", 0.2, 5), ("int8", 0.7, 15)]
)
def test_each_variant_gives_nearly_the_probabilities_of_the_trained_network(
    trained_device_model, converted, variant, difference, changed
):
    path = converted(variant)
    found = compared(trained_device_model, path)

    given = LiteRTModel(path).predict(trained_device_model.images)
    expected = trained_device_model.network.predict(trained_device_model.images, verbose=0)
    np.testing.assert_allclose(given, expected, atol=difference)
    assert found.largest_difference == pytest.approx(np.abs(given - expected).max(), abs=1e-5)
    assert found.labels_changed == (given.argmax(1) != expected.argmax(1)).sum() <= changed
    assert found.not_numbers == 0
    assert found.accuracy == (given.argmax(1) == trained_device_model.labels).mean() > 0.5
    conversion.check(variant, found, description.read(trained_device_model.folder).parameters)


def test_a_smaller_variant_has_a_smaller_file(trained_device_model, converted):
    sizes = {variant: compared(trained_device_model, converted(variant)).bytes for variant in ("fp32", "fp16")}

    assert sizes["fp16"] < 0.75 * sizes["fp32"]


def test_every_variant_keeps_names_shape_and_type(converted):
    for variant in conversion.VARIANTS:
        assert LiteRTModel(converted(variant)).shape == (1, 32, 32, 3)  # raises for other names or types


GOOD = Variant(bytes=4_000, largest_difference=0.0, labels_changed=0, not_numbers=0, accuracy=0.9)


def test_a_file_without_its_weights_is_refused():
    conversion.check("fp32", GOOD, parameters=1_000)

    with pytest.raises(ConversionFailed, match="converted to fp32: 4,000 bytes cannot hold 10,000 parameters"):
        conversion.check("fp32", GOOD, parameters=10_000)


def test_what_is_no_number_is_counted_and_refused(trained_device_model, converted):
    expected = conversion.probabilities(trained_device_model.folder, trained_device_model.images[:4])
    images = trained_device_model.images[:4].copy()
    images[1] = np.nan

    found = conversion.compare(converted("fp32"), expected, images, trained_device_model.labels[:4])

    assert found.not_numbers == 1
    with pytest.raises(ConversionFailed, match="no number for 1 image"):
        conversion.check("fp32", found, parameters=10)


def test_an_unknown_variant_is_named_with_those_that_exist(trained_device_model, tmp_path):
    with pytest.raises(ConversionFailed, match="int4: it is not one of fp32, fp16, dynamic, int8"):
        conversion.convert(trained_device_model.folder, str(tmp_path), "int4", trained_device_model.images)
