"""Releases to write pages about, and a strict reader of pages."""

import io
import re
import xml.etree.ElementTree

import pytest
from PIL import Image

from pipeline.outcomes import DeviceOutcome, Escalation, Metrics
from pipeline.quality.pair_gate import Agreement, Difference
from pipeline.releases.record import Release
from pipeline.reporting.pair import Pair

HOSTILE = [
    "</td><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "{{ 7 * 7 }}",
    "a & b",
    "caf\u00e9 \u202e",
]


@pytest.fixture
def release():
    def make(tag: str = "model-1", spans: tuple[int, ...] = (1,), previous: str | None = None) -> Release:
        return Release(
            tag=tag,
            identity="5e" * 32,
            commit="c0ffee" * 6 + "beef",
            modules_digest="9d" * 32,
            spans=spans,
            labels=("cat", "dog"),
            metrics=Metrics(accuracy=0.8125, images=64),
            files={"model.tar.gz": "ab" * 32},
            created="2026-11-22T12:04:05Z",
            previous=previous,
        )

    return make


@pytest.fixture
def pair(png):
    """A pair that agrees on 61 of 64 images, with pictures of two others."""
    agreement = Agreement()
    for number in range(64):
        device = "dog" if number < 3 else "cat"
        agreement.add(Difference(f"{number:064}", "cat", "cat", device, 0.9, 0.6 + number / 1000), device)
    device = DeviceOutcome(
        blessed=True,
        metrics=Metrics(61 / 64, 64, {"1": 61 / 64}, {"cat": 61 / 64}),
        agreement=agreement.share,
        agreement_interval=agreement.interval,
        bytes=1_910_000,
        milliseconds=0.26,
        machine="a processor",
        quantization="fp16",
        escalation=Escalation(0.61, 0.25, 1.0, ((0.0, 0.0, 0.953), (0.61, 0.25, 1.0), (1.0, 1.0, 1.0))),
        variants={
            "fp16": {"bytes": 1_910_000, "accuracy": 0.95, "labels_changed": 1, "largest_difference": 0.004},
            "int8": {"error": "The device model cannot be converted to int8"},
        },
    )
    images = {f"{number:064}": png(colour=100 + number) for number in (0, 2)}
    return Pair(Metrics(1.0, 64, {"1": 1.0}, {"cat": 1.0}), device, agreement, images)


@pytest.fixture
def png():
    def make(width: int = 8, height: int = 8, colour: int = 200) -> bytes:
        encoded = io.BytesIO()
        Image.new("L", (width, height), colour).save(encoded, "PNG")
        return encoded.getvalue()

    return make


class Page:
    """A page, read as strictly as XML."""

    def __init__(self, html: str):
        self.html = html
        self.root = xml.etree.ElementTree.fromstring(html.removeprefix("<!doctype html>"))
        self.text = " ".join(" ".join(self.root.find("body").itertext()).split())

    def all(self, tag: str) -> list[xml.etree.ElementTree.Element]:
        return list(self.root.iter(tag))

    def texts(self, tag: str) -> list[str]:
        return [" ".join(" ".join(element.itertext()).split()) for element in self.all(tag)]

    def asks_for(self) -> list[str]:
        """Everything that a browser would load or run."""
        attributes = [value for e in self.root.iter() for name, value in e.items() if name in ("src", "href", "srcset")]
        handlers = [name for e in self.root.iter() for name in e.keys() if name.startswith("on")]
        scripts = [e.tag for e in self.root.iter() if e.tag in ("script", "link", "iframe", "object", "embed", "base")]
        loads = re.findall(r"url\([^)]*|@import[^;]*", " ".join(e.text or "" for e in self.all("style")))
        return [a for a in attributes if not a.startswith("data:image/")] + handlers + scripts + loads


@pytest.fixture
def read():
    return Page
