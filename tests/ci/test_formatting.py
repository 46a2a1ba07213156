"""Long lists are shortened."""

from ci.formatting import labels, rejections
from pipeline.outcomes import Rejected


def test_of_many_labels_people_are_shown_ten():
    text = labels({f"label-{number:03}": 1000 for number in range(250)})

    assert text.startswith("label-000 1,000, label-001 1,000, ")
    assert text.endswith("label-009 1,000, 240 more")


def test_of_few_labels_people_are_shown_all():
    assert labels({"dog": 1, "cat": 2}) == "cat 2, dog 1"


def test_nothing_rejected_is_not_mentioned():
    assert rejections([]) == []


def test_one_rejected_image_is_shown_with_its_reason():
    heading, line = rejections([Rejected("cat/1.png", "empty file")])

    assert heading.startswith("1 image could not be used")
    assert line == "  cat/1.png: empty file"
