import datetime

from pipeline.quality.scores import Evaluation, Prediction
from pipeline.reporting.story_page import Span, Step, Story, story_page
from tests.pipeline.reporting.conftest import HOSTILE


def evaluation(correct: int, wrong: int, right: str = "3", other: str = "8") -> Evaluation:
    return Evaluation({(right, right): correct, (right, other): wrong})


def story(release, png, said: str = "1,300 images became span 1.", label: str = "3") -> Story:
    old, new = release("model-1", (1,)), release("model-2", (1, 2), "model-1")
    return Story(
        created=datetime.datetime(2026, 11, 22, 12, 30, tzinfo=datetime.timezone.utc),
        workspace="./workspace-demo",
        threshold=0.8,
        steps=[
            Step("The first camera", "python -m ci import-images --demo", said, 0.0, 1.25),
            Step("The first camera", "python -m ci train", "Released as model-1.", 1.5, 48.0),
            Step("The loop fixes it", "python -m ci retrain", "Released as model-2.", 60.0, 71.2),
        ],
        spans=[Span(1, "first camera", 1040, 260), Span(2, "changed camera", 200, 50)],
        old=old,
        new=new,
        on_spans={
            "model-1": {1: evaluation(251, 9), 2: evaluation(6, 44)},
            "model-2": {1: evaluation(253, 7), 2: evaluation(47, 3)},
        },
        fresh={"model-1": evaluation(21, 226, label), "model-2": evaluation(240, 7, label)},
        corrected=[
            (Prediction("3/1.png", label, png(), "8", 0.987), Prediction("3/1.png", label, png(), label, 0.991))
        ],
        strips=[("first camera", [png()] * 3), ("changed camera", [png()] * 3)],
    )


def test_a_page_is_well_formed_and_asks_for_nothing(release, png, read):
    page = read(story_page(story(release, png)))

    assert page.asks_for() == []
    assert len(page.all("img")) == 7


def test_the_headline_is_what_both_models_make_of_the_same_new_pictures(release, png, read):
    page = read(story_page(story(release, png)))

    assert "9 % → 97 %" in page.text
    assert "pictures behind this headline, new to both models 247" in page.text
    assert "226 → 7" in page.text
    assert page.texts("title") == ["Spanloop: 9 % to 97 % in 2 min 11 s"]


def test_both_releases_are_compared_on_every_span(release, png, read):
    rows = read(story_page(story(release, png))).texts("tr")

    assert "span 1, kept out of training 260 96.5 % 97.3 % 94.5 to 98.7 %" in rows
    assert "span 2, kept out of training 50 12.0 % 94.0 % 83.8 to 97.9 %" in rows
    assert "arrived after model-2 was released 247 8.5 % 97.2 % 94.3 to 98.6 %" in rows


def test_every_step_is_listed_in_order_with_its_time(release, png, read):
    steps = [text for text in read(story_page(story(release, png))).texts("li") if "python -m ci" in text]

    assert steps == [
        "python -m ci import-images --demo 1,300 images became span 1. 1.2 s",
        "python -m ci train Released as model-1. 48 s",
        "python -m ci retrain Released as model-2. 1 min 11 s",
    ]


def test_the_lineage_of_both_releases_is_shown(release, png, read):
    page = read(story_page(story(release, png)))

    assert "trained on spans 1 and 2" in page.text and "compared with model-1" in page.text
    for digest in ("ab" * 32, "9d" * 32, "c0ffee" * 6 + "beef"):
        assert page.text.count(digest) == 2


def test_hostile_words_are_shown_and_do_nothing(release, png, read):
    for text in HOSTILE:
        page = read(story_page(story(release, png, said=text, label=text)))

        assert page.asks_for() == []
        assert text in page.text
