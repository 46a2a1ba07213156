"""Files of the workspace that nothing needs any more: modules, compiled pipelines, copies for serving, reports."""

import re
from collections.abc import Collection, Iterator

from pipeline.cleaning.item import Item, Search, grouped
from pipeline.cloud.vertex import label_value
from pipeline.data import reports, spans
from pipeline.outcomes import SpanState
from pipeline.serving.model_registry import SERVING
from pipeline.storage.base import DatedEntry


def modules(search: Search, running: Collection[str]) -> Iterator[Item]:
    """Yields wheels of modules that no release, no recent run and not this clone has.

    `running` are the labels of runs that name modules.
    """
    needed = {search.own_modules, *(release.modules_digest for release in search.releases)}
    needed |= {report.modules_digest for report in search.trainings[-1:]}
    for name, found in grouped(search.storage.list_dated("modules"), 2).items():
        digest = name.partition("/")[2]
        if not re.fullmatch("[0-9a-f]{64}", digest) or digest in needed or label_value(digest) in running:
            continue
        if search.is_old(found.modified):
            yield _folder(search, "modules", name, found, "no release and no recent run has them")


def compiled(search: Search, running: Collection[str]) -> Iterator[Item]:
    """Yields compiled pipelines that no recent run was submitted from; `running` are the labels of runs."""
    for entry in search.storage.list_dated("pipelines"):
        match = re.fullmatch(r"pipelines/\w+/([0-9a-f]{64})\.json", entry.name)
        if match and label_value(match[1]) not in running and search.is_old(entry.modified):
            yield Item(
                "compiled pipeline",
                search.storage.address(entry.name),
                search.age(entry.modified),
                entry.size,
                "no recent run was submitted from it",
                lambda name=entry.name: search.storage.delete(name),
            )


def copies(search: Search, uploaded: Collection[str]) -> Iterator[Item]:
    """Yields copies of models for serving that no release has; `uploaded` are addresses in the Model Registry."""
    needed = {f"{SERVING}/{release.tag}/{release.archive[:12]}" for release in search.releases if release.archive}
    for name, found in grouped(search.storage.list_dated(SERVING), 3).items():
        ours = re.fullmatch(rf"{SERVING}/model-[1-9]\d*/[0-9a-f]{{12}}", name)
        if not ours or name in needed or search.storage.address(name) in uploaded:
            continue
        if search.is_old(found.modified):
            why = "no release and no version in the Model Registry is it"
            yield _folder(search, "copy for serving", name, found, why)


def old_reports(search: Search) -> Iterator[Item]:
    """Yields reports but the newest, those of releases, and those by which it is known which spans were trained on."""
    needed = {_name(address) for address in _needed_reports(search)}
    for name, found in grouped(search.storage.list_dated(reports.FOLDER), 2).items():
        short = name.partition("/")[2]
        ours = re.fullmatch(rf"({reports.TRAINING}|{reports.EVALUATION})-\d{{8}}T\d{{6}}Z-\d+", short)
        if ours and short not in needed and search.is_old(found.modified):
            yield _folder(search, "report", name, found, "neither the newest nor of a release; `history` forgets it")


def _needed_reports(search: Search) -> Iterator[str]:
    """Yields addresses of reports, and of pages in them."""
    tags = {release.tag for release in search.releases}
    if newest := reports.newest_evaluation(search.storage):
        yield newest.address
    untold = {span.number: span for span in spans.published(search.storage)}
    for number, report in enumerate(reversed(search.trainings)):
        states = report.outcome.data
        told = [
            span
            for span in untold.values()
            if span.number in report.outcome.spans
            and reports.is_trained(span, {span.number: {_digest(states.get(str(span.number)))}})
        ]
        if number == 0 or told or report.outcome.release in tags:
            yield report.address
            if page := report.outcome.page:  # of an earlier report, where the same training ran twice
                yield page.rpartition("/")[0]
        for span in told:
            del untold[span.number]


def _digest(state: SpanState | None) -> str:
    return state.digest if state else ""


def _name(address: str) -> str:
    return address.rstrip("/").rpartition("/")[2]


def _folder(search: Search, kind: str, name: str, found: DatedEntry, why: str) -> Item:
    """Returns the item of a folder of the workspace."""
    storage = search.storage
    return Item(
        kind,
        storage.address(name),
        search.age(found.modified),
        found.size,
        why,
        lambda: storage.delete_folder(name),
    )
