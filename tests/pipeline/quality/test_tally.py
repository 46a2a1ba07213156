"""What the Evaluator counts, as Beam counts it: in parts that are merged."""

import numpy as np
import pytest

from pipeline.config import Config
from pipeline.quality import evaluator_config, tally
from pipeline.quality.comparison import Pairs
from pipeline.quality.tally import Mistake, Tally, TallyMetric


def outputs(label, confidence):
    classes = np.array([b"cat", b"dog"])
    return {"label": np.array([label.encode()]), "confidence": np.array([confidence]), "all_classes": classes}


def extracts(source, label, candidate, current, confidence=0.9):
    of_candidate = outputs(candidate, confidence)
    return {
        "features": {"source": np.array([source.encode()]), "label": np.array([label.encode()])},
        "predictions": {"candidate": of_candidate, "current": outputs(current, 0.5)} if current else of_candidate,
    }


def computed(images, current):
    """Returns what the metric's computation makes of images, half of them counted on another worker; {name: value}."""
    config = evaluator_config.eval_config(Config(), current)
    names = ["candidate", "current"] if current else [""]
    (computation,) = TallyMetric().computations(eval_config=config, model_names=names)
    (preprocessor,), count = computation.preprocessors, computation.combiner
    parts = [count.create_accumulator(), count.create_accumulator()]
    for number, image in enumerate(images):
        for element in preprocessor.process(image):
            parts[number % 2] = count.add_input(parts[number % 2], element)
    found = count.extract_output(count.merge_accumulators(parts))
    assert list(found) == computation.keys
    return {(key.name, key.model_name): value for key, value in found.items()}


def test_two_models_are_counted_on_the_same_images():
    images = [
        extracts("1", "cat", "cat", "cat"),
        extracts("2", "cat", "dog", "cat", confidence=0.6),
        extracts("3", "dog", "dog", "cat"),
        extracts("4", "dog", "cat", "cat", confidence=0.8),
        extracts("5", "eel", "cat", "dog", confidence=0.7),
    ]

    found = computed(images, current=True)

    counted = Tally.from_json(found["tally", "candidate"])
    assert counted.pairs == Pairs(5, 2, lost=1, gained=1)
    assert counted.unknown == 1
    assert counted.confusion == {("cat", "cat"): 1, ("cat", "dog"): 1, ("dog", "dog"): 1, ("dog", "cat"): 1} | {
        ("eel", "cat"): 1
    }
    assert [mistake.source for mistake in counted.mistakes] == ["4", "5", "2"]
    assert counted.mistakes[0] == Mistake("4", "dog", "cat", 0.8)
    assert found["accuracy", "candidate"] == found["accuracy", "current"] == pytest.approx(0.4)


def test_a_model_alone_is_counted_alone():
    found = computed([extracts("1", "cat", "cat", ""), extracts("2", "cat", "dog", "")], current=False)

    assert Tally.from_json(found["tally", ""]).pairs == Pairs(2, 1)
    assert found["accuracy", ""] == 0.5
    assert ("accuracy", "current") not in found


def test_of_many_mistakes_the_most_confident_ones_are_kept():
    images = [extracts(f"{number:03}", "cat", "dog", "", confidence=number / 100) for number in range(100)]

    counted = Tally.from_json(computed(images, current=False)["tally", ""])

    assert [mistake.confidence for mistake in counted.mistakes] == [of / 100 for of in range(99, 99 - tally.WORST, -1)]
