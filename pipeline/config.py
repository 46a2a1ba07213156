"""The only configuration: one frozen dataclass, built from the environment."""

import dataclasses
import json
import keyword
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from pipeline.errors import ConfigError


class Unusable(ValueError):
    """A value cannot be read; the message says what is expected instead."""


def _folder(text: str) -> str:
    if "://" in text or text.startswith("github:"):
        raise Unusable("a folder of this machine")
    return text


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise Unusable("a number from 0 to 1, such as 0.8")
    return value


def _seed(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) < 2**31):
        raise Unusable("a whole number from 0 to 2147483647")
    return int(text)


def _switch(text: str) -> bool:
    try:
        return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}[text.lower()]
    except KeyError:
        raise Unusable("true or false") from None


def _package(text: str) -> str:
    if not all(part.isidentifier() and not keyword.iskeyword(part) for part in text.split(".")):
        raise Unusable("the dotted name of a package, such as modules.classification")
    return text


def _setting(variable: str, default: Any, read: Callable[[str], Any], meaning: str, secret: bool = False) -> Any:
    metadata = {"variable": variable, "read": read, "meaning": meaning, "secret": secret}
    return dataclasses.field(default=default, metadata=metadata)


class Setting(NamedTuple):
    """One line of `python -m ci config`; a secret's value is hidden."""

    variable: str
    value: str
    origin: str  # "environment" or "default"
    meaning: str


@dataclasses.dataclass(frozen=True)
class Config:
    """Every setting, read and checked. Immutable: what a run started with is what it ends with."""

    workspace: str = _setting("WORKSPACE", "./workspace", _folder, "folder of all images, spans and reports")
    releases: str = _setting("RELEASES", "", _folder, "where models are released; WORKSPACE/releases unless set")
    accuracy_threshold: float = _setting(
        "ACCURACY_THRESHOLD",
        0.8,
        _share,
        "accuracy that a model needs to be released, and below which collected data call for retraining",
    )
    accuracy_margin: float = _setting(
        "ACCURACY_MARGIN",
        0.02,
        _share,
        "how much worse than the current model a new one may be, overall and on each span",
    )
    modules: str = _setting("MODULES", "modules.classification", _package, "package of the task's features and model")
    seed: int = _setting("SEED", 0, _seed, "start of all random numbers in training")
    tune: bool = _setting("TUNE", False, _switch, "whether a search for hyperparameters precedes training")

    def __post_init__(self):
        if not self.releases:
            object.__setattr__(self, "releases", os.path.join(self.workspace, "releases"))

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> "Config":
        """Reads every setting from `environ`, where empty means not set. Raises ConfigError."""
        values = {}
        for field in dataclasses.fields(cls):
            variable, text = field.metadata["variable"], environ.get(field.metadata["variable"], "")
            if not text:
                continue
            try:
                values[field.name] = field.metadata["read"](text)
            except Unusable as expected:
                shown = "(hidden)" if field.metadata["secret"] else text
                raise ConfigError(variable, shown, str(expected)) from None
        return cls(**values)

    def to_json(self) -> str:
        """Returns what `from_json` reads: every setting but secrets, which are read where they are used."""
        fields = (field for field in dataclasses.fields(self) if not field.metadata["secret"])
        return json.dumps({field.name: getattr(self, field.name) for field in fields})

    @classmethod
    def from_json(cls, text: str) -> "Config":
        """Returns the configuration that `to_json` wrote."""
        return cls(**json.loads(text))

    def settings(self, environ: Mapping[str, str]) -> Iterator[Setting]:
        """Yields every setting with its value, where it came from and what it means."""
        for field in dataclasses.fields(self):
            variable, secret = field.metadata["variable"], field.metadata["secret"]
            value = getattr(self, field.name)
            shown = str(value).lower() if isinstance(value, bool) else str(value)
            yield Setting(
                variable,
                "(hidden)" if secret and shown else shown,
                "environment" if environ.get(variable) else "default",
                field.metadata["meaning"],
            )
