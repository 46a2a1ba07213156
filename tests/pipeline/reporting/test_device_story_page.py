"""The page about the demo of both models."""

import dataclasses
import datetime

from pipeline.outcomes import Escalation, Metrics
from pipeline.quality.scores import Score
from pipeline.releases.record import DeviceModel
from pipeline.reporting.device_story_page import Act, DeviceStory, Question, device_story_page
from pipeline.reporting.story_page import Step
from tests.pipeline.reporting.conftest import HOSTILE


def act(title: str, right: int, calls: int = 0, mode: str = "escalate", model: str = "model-1", **more) -> Act:
    return Act(
        title=title,
        camera="first camera",
        mode=mode,
        model=model,
        right=Score(right, 200),
        by_device=200 - calls,
        by_cloud=calls,
        calls=calls,
        sent=calls * 1000,
        seconds={"device": 0.0003 if calls < 200 else None, "cloud": 0.02 if calls else None},
        **more,
    )


def story(release, png, label: str = "7") -> DeviceStory:
    device = DeviceModel(
        file="model.tflite",
        bytes=13_076,
        labels=("3", "7"),
        input={},
        quantization="fp16",
        metrics=Metrics(accuracy=0.84, images=96),
        agreement=0.85,
        escalation=Escalation(0.76, 0.3, 0.98, ((0.0, 0.0, 0.84), (0.76, 0.3, 0.98), (1.0, 1.0, 0.99))),
    )
    old, new = (
        dataclasses.replace(release(tag, spans), device=device)
        for tag, spans in (("model-1", (1,)), ("model-2", (1, 2)))
    )
    return DeviceStory(
        created=datetime.datetime(2026, 11, 22, 12, 30, tzinfo=datetime.timezone.utc),
        workspace="./workspace-devices",
        steps=[Step("The network is cut", "python -m ci predict", "The device answered.", 60.0, 71.2)],
        acts={
            "online": act("Online", 194, 60, questions=[Question(png(), "3", 0.55, label, 0.99)]),
            "device": act("The device alone", 168, mode="device"),
            "cloud": act("The cloud alone", 197, 200, mode="cloud"),
            "cut": act("Offline", 168),
            "changed": act("New camera", 22, 40),
            "updated": act("Updated", 184, 50, model="model-2"),
        },
        old=old,
        new=new,
        sizes={"cloud": 250_000, "device": 13_076},
    )


def test_a_page_is_well_formed_and_asks_for_nothing(release, png, read):
    page = read(device_story_page(story(release, png)))

    assert page.asks_for() == [] and len(page.all("img")) == 1
    assert page.texts("title") == ["Spanloop: an app that goes on without a network, 11 % to 92 %"]


def test_the_headline_is_what_was_answered_without_a_network(release, png, read):
    page = read(device_story_page(story(release, png)))

    assert "went on answering: 100 %" in page.text
    assert "11 % of its answers were right before, 92 % after" in page.text
    assert "right online, with 70 % of the calls saved 97.0 %" in page.text


def test_three_ways_to_answer_are_compared_on_the_same_pictures(release, png, read):
    rows = read(device_story_page(story(release, png))).texts("tr")

    assert "the device alone 84.0 % 0 0 0.3 ms –" in rows
    assert "the device, the cloud where unsure 97.0 % 60 60,000 0.3 ms 20 ms" in rows
    assert "the cloud alone 98.5 % 200 200,000 – 20 ms" in rows
    assert "76 % (chosen) 30 % 70 % 98.0 %" in rows


def test_hostile_labels_are_shown_and_do_nothing(release, png, read):
    for label in HOSTILE:
        assert read(device_story_page(story(release, png, label))).asks_for() == []
