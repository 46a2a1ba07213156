"""Releases to write pages about, and a strict reader of pages."""

import io
import re
import xml.etree.ElementTree

import pytest
from PIL import Image

from pipeline.outcomes import Metrics
from pipeline.releases.record import Release

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
