"""The model card that is released with a model: its metrics, lineage, inputs and outputs."""

import datetime
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pipeline.formatting import counted, listed, megabytes, percent
from pipeline.outcomes import CurrentModel, Metrics
from pipeline.releases.record import DeviceModel, Release
from pipeline.reporting import markdown, render
from pipeline.reporting.pair import Pair

CARD = "model-card.html"


@dataclass(frozen=True)
class Compared:
    """Accuracy of a model on a part of the images kept out of training, and of the current model on the same part."""

    name: str
    accuracy: float | None
    before: float | None


@dataclass(frozen=True)
class ModelCard:
    """A release beside the model that it was compared with, None when it is the first one."""

    release: Release
    current: CurrentModel | None

    most_rows = 100

    @property
    def created(self) -> datetime.datetime:
        return datetime.datetime.strptime(self.release.created, "%Y-%m-%dT%H:%M:%S%z")

    @property
    def overall(self) -> Compared:
        before = self.current.metrics.accuracy if self.current else None
        return Compared("overall", self.release.metrics.accuracy, before)

    @property
    def spans(self) -> list[Compared]:
        return self._by(lambda metrics: metrics.per_span)

    @property
    def labels(self) -> list[Compared]:
        return self._by(lambda metrics: metrics.per_label)

    def _by(self, part: Callable[[Metrics], Mapping[str, float | None]]) -> list[Compared]:
        """Returns all in their order, or the worst ones of too many."""
        before = part(self.current.metrics) if self.current else {}
        found = [Compared(name, of, before.get(name)) for name, of in part(self.release.metrics).items()]
        if len(found) > self.most_rows:
            found = sorted(found, key=lambda compared: compared.accuracy)[: self.most_rows]
        return found


def card(release: Release, current: CurrentModel | None, pair: Pair | None = None) -> dict[str, bytes]:
    """Returns the card as a file: one self-contained HTML document, by its name. `pair`: None for a single model."""
    shown = ModelCard(release, current)
    html = render.page("model_card.html", card=shown, release=release, created=shown.created, pair=pair)
    return {CARD: html.encode()}


def _device(device: DeviceModel) -> str:
    accuracy, agreement = percent(device.metrics.accuracy), percent(device.agreement)
    return (
        f"{megabytes(device.bytes)}, {accuracy} right, the same label as the other model for {agreement} of the images"
    )


def notes(release: Release) -> str:
    """Returns the Markdown of a release's page on GitHub, in which labels and names are escaped."""
    metrics, code = release.metrics, markdown.code
    rows = [
        ("trained on", f"{'span' if len(release.spans) == 1 else 'spans'} {listed(release.spans)}"),
        ("labels", f"{len(release.labels):,}"),
        ("compared with", code(release.previous) if release.previous else "no model before it"),
        ("commit", code(release.commit or "not known")),
        *([("modules", code(release.modules_digest, 64))] if release.modules_digest else []),
        *([("model on Vertex AI", code(release.cloud_model, 300))] if release.cloud_model else []),
        *([("image", code(release.image, 300))] if release.image else []),
        *([("model for devices", _device(release.device))] if release.device else []),
        *((code(name), f"sha256 {code(digest, 64)}") for name, digest in release.files.items()),
    ]
    headline = f"**{percent(metrics.accuracy)}** of {counted(metrics.images, 'image')} that were kept out of training."
    card = f"The plots, span by span and label by label, are in `{CARD}` below."
    return "\n\n".join([headline, markdown.table(["", ""], rows, of_numbers=False), card]) + "\n"
