"""Reports of runs to write about, fair and hostile ones."""

import itertools
import json
from typing import Any

from pipeline.outcomes import Metrics, NodeDuration
from pipeline.reporting.run_report import Current, Device, RunReport
from tests.pipeline.reporting.conftest import HOSTILE

WORDS = [
    *HOSTILE,
    "@octocat",
    "a@example.org",
    "https://example.org www.example.org",
    "[x](javascript:alert)",
    "![x](https://example.org/x.png)",
    "#1 acme/widget#1 " + "c0ffee" * 6 + "beef",
    "`@octocat`",
    "``` @octocat",
    "a|b\\|c\\\\|d",
    "\\",
    "two\nlines\r\n\n# heading",
    "<!-- -->",
    "::error::x",
    "##[add-mask]x",
    '"]\n  bar [1]',
    '%%{init: {"securityLevel": "loose"}}%%',
    "\ud800\0\x1b[31m",
    "*_~**",
    "",
]


def metrics(accuracy: float, spans: int = 1, labels: Any = "0123456789") -> Metrics:
    return Metrics(
        accuracy,
        118,
        {str(span): accuracy for span in range(1, 1 + spans)},
        dict(zip(labels, itertools.cycle([accuracy, 1.0]), strict=False)),
    )


def report(**fields: Any) -> RunReport:
    """A rehearsal that was compared with its base."""
    known = {
        "kind": "rehearsal",
        "created": "2026-11-22T12:04:05Z",
        "commit": "c0ffee" * 6 + "beef",
        "modules_digest": "9d" * 32,
        "identity": "5e" * 32,
        "spans": (1,),
        "metrics": metrics(0.957),
        "blessed": True,
        "reasons": (),
        "release": "model-2",
        "current": Current("model-1", "be" * 20, "3c" * 32, metrics(0.949), ()),
        "uncompared": "",
        "threshold": 0.8,
        "durations": (NodeDuration("Transform", "done", 11.04), NodeDuration("Trainer", "unchanged", 0.25)),
        "seconds": 43.1,
        "branch": "full-codebase",
        "why": "not only modules changed: pipeline/plan.py",
        "machines": "n1-standard-4",
        "device": None,
    }
    return RunReport(**known | fields)


DEVICE = Device(0.774, 0.815, 13_016)


def hostile(words: list[str] = WORDS, most: bool = False) -> RunReport:
    """As hostile as `from_json` lets a report be; with `most` as long, too."""
    labels = [word[:255] for word in words]
    reasons = tuple(labels)
    spans = tuple(range(1, 6))
    if most:
        labels += [f"{number} {'@|`<' * 20}" for number in range(1900)]
        reasons = tuple(["@octocat |`<b>" * 35] * 200)
        spans = tuple(range(1, 4000, 2))
    both = Metrics(0.5, 10**12, dict.fromkeys(map(str, spans), 0.25), dict.fromkeys(labels, 0.125))
    made = report(
        spans=spans,
        metrics=both,
        current=Current("model-1", "be" * 20, "", both, tuple(labels)),
        blessed=False,
        reasons=reasons,
        uncompared=labels[0],
        durations=tuple(NodeDuration(word[:100], "done", 1.0) for word in labels[:100]),
        why=labels[1],
        machines=labels[2],
    )
    assert RunReport.from_json(made.to_json()) == made
    return made


def changed(path: str, value: Any) -> str:
    """The JSON of a report in which the field at `path`, such as metrics.accuracy, is another one."""
    fields = json.loads(report(device=DEVICE).to_json())
    *way, last = path.split(".")
    place = fields
    for name in way:
        place = place[name]
    place[last] = value
    return json.dumps(fields)
