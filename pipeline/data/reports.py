"""Reports: one folder in the workspace for each training and each evaluation, never changed or deleted."""

import dataclasses
import datetime
import itertools
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pipeline.data.span import Span
from pipeline.errors import StorageError
from pipeline.outcomes import EvaluationOutcome, NodeDuration, TrainingOutcome
from pipeline.storage.base import Storage

FOLDER = "reports"
OUTCOME = "outcome.json"
DURATIONS = "durations.json"  # of a training's nodes, where they were known only after its outcome was written
PAGE = "report.html"
TRAINING, EVALUATION = "training", "evaluation"


@dataclass(frozen=True)
class TrainingReport:
    """A training as the workspace keeps it: its outcome and what decided it."""

    outcome: TrainingOutcome
    identity: str  # sha256 of everything that decided what the training did
    modules_digest: str  # "" in reports of earlier versions, which did not name it
    commit: str  # "" where it was not known
    created: str  # UTC, ISO 8601
    address: str  # of the report's folder

    def to_json(self) -> dict[str, Any]:
        return self.outcome.to_json() | {
            "identity": self.identity,
            "modules_digest": self.modules_digest,
            "commit": self.commit,
            "kind": TRAINING,
            "created": self.created,
            "address": self.address,
        }

    @classmethod
    def from_json(cls, found: Mapping[str, Any], address: str) -> "TrainingReport":
        outcome = TrainingOutcome.from_json(found)
        if outcome.page == PAGE:  # in this folder; else it is that of an earlier report
            outcome = dataclasses.replace(outcome, page=f"{address}/{PAGE}")
        return cls(
            outcome=outcome,
            identity=found.get("identity", ""),
            modules_digest=found.get("modules_digest", ""),
            commit=found.get("commit", ""),
            created=found["created"],
            address=address,
        )


@dataclass(frozen=True)
class EvaluationReport:
    """An evaluation as the workspace keeps it."""

    outcome: EvaluationOutcome
    confusion: Mapping[tuple[str, str], int]  # {(true label, predicted label): images}
    created: str  # UTC, ISO 8601
    address: str  # of the report's folder

    def to_json(self) -> dict[str, Any]:
        return _evaluation(self.outcome, self.confusion) | {
            "kind": EVALUATION,
            "created": self.created,
            "address": self.address,
        }

    @classmethod
    def from_json(cls, found: Mapping[str, Any], address: str) -> "EvaluationReport":
        confusion = {(truth, predicted): count for truth, predicted, count in found.get("confusion", ())}
        return cls(EvaluationOutcome.from_json(found), confusion, found["created"], address)


Report = TypeVar("Report", TrainingReport, EvaluationReport)


def save_training(
    storage: Storage, outcome: TrainingOutcome, *, identity: str, modules_digest: str, commit: str, page: str = ""
) -> str:
    """Writes the report of a training, with a `page` (HTML) if there is one; returns the address of its folder."""
    fields = outcome.to_json() | {"identity": identity, "modules_digest": modules_digest, "commit": commit}
    if not page:
        return _save(storage, TRAINING, fields, {})
    return _save(storage, TRAINING, fields | {"page": PAGE}, {PAGE: page.encode()})


def save_evaluation(
    storage: Storage,
    outcome: EvaluationOutcome,
    confusion: Mapping[tuple[str, str], int],
    files: Mapping[str, bytes],
) -> str:
    """Writes the report of an evaluation with `files` ({name: content}) and returns the address of its folder."""
    return _save(storage, EVALUATION, _evaluation(outcome, confusion), files)


def trainings(storage: Storage) -> list[TrainingReport]:
    """Returns the reports of all trainings, oldest first. Raises StorageError."""
    names = _names(storage, TRAINING)
    contents = storage.read_each(f"{FOLDER}/{name}/{OUTCOME}" for name in names)
    return [_parse(storage, TrainingReport.from_json, *pair) for pair in zip(names, contents, strict=True)]


def evaluations(storage: Storage) -> list[EvaluationReport]:
    """Returns the reports of all evaluations, oldest first. Raises StorageError."""
    names = _names(storage, EVALUATION)
    contents = storage.read_each(f"{FOLDER}/{name}/{OUTCOME}" for name in names)
    return [_parse(storage, EvaluationReport.from_json, *pair) for pair in zip(names, contents, strict=True)]


def in_order(reports: Iterable["TrainingReport | EvaluationReport"]) -> list["TrainingReport | EvaluationReport"]:
    """Sorts reports of both kinds by what follows what."""
    return sorted(reports, key=lambda report: _order(report.address.rstrip("/").rpartition("/")[2]))


def newest_training(storage: Storage) -> TrainingReport | None:
    """Returns the report of the newest training. Raises StorageError."""
    return _newest(storage, TRAINING, TrainingReport.from_json)


def newest_evaluation(storage: Storage) -> EvaluationReport | None:
    """Returns the report of the newest evaluation. Raises StorageError."""
    return _newest(storage, EVALUATION, EvaluationReport.from_json)


def trained_spans(storage: Storage) -> set[int]:
    """Returns the spans of all trainings that ended, whether their model was released or not."""
    return {number for training in trainings(storage) for number in training.outcome.spans}


def trained_digests(storage: Storage) -> dict[int, set[str]]:
    """Returns {number: digests of the span when it was trained on}; "" stands for trainings that did not name it."""
    found: dict[int, set[str]] = {}
    for training in trainings(storage):
        states = training.outcome.data
        for number in training.outcome.spans:
            state = states.get(str(number))
            found.setdefault(number, set()).add(state.digest if state else "")
    return found


def is_trained(span: Span, trained: Mapping[int, set[str]]) -> bool:
    """True when a training was about this very span, as corrected; `trained` is what `trained_digests` returns."""
    digests = trained.get(span.number, set())
    return span.digest in digests or ("" in digests and not span.corrections.last)


def add_durations(storage: Storage, report: TrainingReport, durations: Iterable[NodeDuration]) -> None:
    """Writes the durations of a training's nodes beside its outcome, unless they are there already."""
    data = json.dumps([duration.to_json() for duration in durations], indent=1).encode()
    storage.write(_durations(report), data, create_only=True)


def durations(storage: Storage, report: TrainingReport) -> tuple[NodeDuration, ...]:
    """Returns the durations of a training's nodes, empty where they are not known."""
    if report.outcome.durations or not storage.exists(_durations(report)):
        return report.outcome.durations
    return tuple(map(NodeDuration.from_json, json.loads(storage.read(_durations(report)))))


def _evaluation(outcome: EvaluationOutcome, confusion: Mapping[tuple[str, str], int]) -> dict[str, Any]:
    fields = outcome.to_json()
    del fields["report"]  # the address of this very report
    return fields | {"confusion": [[*pair, count] for pair, count in sorted(confusion.items())]}


def _save(storage: Storage, kind: str, fields: Mapping[str, Any], files: Mapping[str, bytes]) -> str:
    created = datetime.datetime.now(datetime.timezone.utc)
    text = json.dumps({**fields, "kind": kind, "created": f"{created:%Y-%m-%dT%H:%M:%SZ}"}, indent=1)
    # The outcome comes last: a report without it does not exist.
    written = {**files, OUTCOME: f"{text}\n".encode()}
    present = [_order(name)[0] for name in storage.folders(FOLDER) if _NAME.fullmatch(name)]
    for number in itertools.count(1 + max(present, default=0)):
        folder = f"{FOLDER}/{kind}-{created:%Y%m%dT%H%M%SZ}-{number:05d}"
        # Of several at once only one gets the number: the one that writes the first file.
        if all(storage.write(f"{folder}/{name}", data, create_only=True) for name, data in written.items()):
            return storage.address(folder)


_NAME = re.compile(rf"({TRAINING}|{EVALUATION})-(\d{{8}}T\d{{6}}Z)-(\d+)", re.ASCII)


def _durations(report: TrainingReport) -> str:
    return f"{FOLDER}/{report.address.rstrip('/').rpartition('/')[2]}/{DURATIONS}"


def _order(name: str) -> tuple[int, str, int]:
    """Orders reports by what follows what: each has a number above those that were there when it was written.

    The time decides among reports of earlier versions, which have at most four digits, and among simultaneous ones.
    """
    _, created, number = _NAME.fullmatch(name).groups()
    return int(number) if len(number) >= 5 else 0, created, int(number)


def _names(storage: Storage, kind: str) -> list[str]:
    """Returns the folders that have an outcome, oldest first."""
    whole = (entry.name.split("/") for entry in storage.list(FOLDER))
    named = (_NAME.fullmatch(parts[1]) for parts in whole if parts[2:] == [OUTCOME])
    return sorted((match[0] for match in named if match and match[1] == kind), key=_order)


def _newest(storage: Storage, kind: str, read: Callable[[Mapping[str, Any], str], Report]) -> Report | None:
    names = _names(storage, kind)
    return _parse(storage, read, names[-1], storage.read(f"{FOLDER}/{names[-1]}/{OUTCOME}")) if names else None


def _parse(storage: Storage, read: Callable[[Mapping[str, Any], str], Report], name: str, content: bytes) -> Report:
    try:
        return read(json.loads(content), storage.address(f"{FOLDER}/{name}"))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        address = storage.address(f"{FOLDER}/{name}/{OUTCOME}")
        raise StorageError(address, f"cannot be read ({error!r})", "Restore it, or move its folder away.") from None
