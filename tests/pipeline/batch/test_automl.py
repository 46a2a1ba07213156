"""What both models of AutoML make of the images for evaluation, counted."""

import pytest

from pipeline.batch import automl
from pipeline.batch.predictor import Classification
from pipeline.data import spans
from pipeline.data.span import published
from pipeline.errors import UndecodedImages
from pipeline.storage.factory import open_storage
from tests.conftest import collect, photographs


@pytest.fixture
def chosen(tmp_path):
    """A span of 60 images, cats and dogs."""
    storage = open_storage(str(tmp_path))
    collect(storage, photographs(range(60)))
    spans.prepare(storage)
    return published(storage)


def truth(chosen) -> dict[str, str]:
    return {example.source: example.label for span in chosen for example in span.examples("eval")}


def test_each_image_counts_once_overall_by_span_and_by_label_beside_the_current_models(chosen):
    labels = truth(chosen)
    cloud = {source: Classification(label, 0.9) for source, label in labels.items()}
    always = dict.fromkeys(labels, "cat")

    found = automl.count(
        chosen, cloud, lambda images: (Classification("cat", 0.6) for _ in images), (always, labels), 0
    )

    cats = sum(label == "cat" for label in labels.values())
    dogs = len(labels) - cats
    assert cats and dogs
    assert (found.cloud.overall.images, found.cloud.overall.right) == (len(labels), len(labels))
    assert (found.cloud.overall.gained, found.cloud.overall.lost) == (dogs, 0)
    assert (found.device.overall.right, found.device.overall.lost) == (cats, dogs)
    assert {name: tally.images for name, tally in found.cloud.labels.items()} == {"cat": cats, "dog": dogs}
    assert {name: tally.images for name, tally in found.device.spans.items()} == {"1": len(labels)}
    assert (found.agreement.images, found.agreement.agreeing) == (len(labels), cats)
    assert found.agreement.escalation.accuracy == 1.0 and found.undecoded == set()


def test_an_image_without_an_answer_counts_for_neither_and_many_of_them_are_an_error(chosen):
    cloud = {source: Classification(label, 0.9) for source, label in truth(chosen).items()}
    cloud.popitem()

    with pytest.raises(UndecodedImages, match="1 of .* withdraw"):
        automl.count(chosen, cloud, lambda images: (Classification("cat", 0.6) for _ in images), None, 0)
