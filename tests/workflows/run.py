"""A run of a workflow, parsed from the log of `act`."""

import json
import pathlib
from collections.abc import Iterator
from typing import Any

SHOWN = 40  # lines of a job that failed
FAILED = "  \N{CROSS MARK}  Failure"  # how act ends a step


class Run:
    """Results of a run: its jobs with their outputs and summaries, by name.

    A job of a called workflow is named "CALLER/JOB": "modules only/deploy".
    """

    def __init__(self, workflow: str, id: int, sha: str, log: pathlib.Path, seconds: float):
        self.workflow, self.id, self.sha, self.seconds = workflow, id, sha, seconds
        self.results: dict[str, str] = {}  # "success", "failure" or "skipped", in the order in which they ended
        self.outputs: dict[str, dict[str, str]] = {}  # of a job's steps: {step: {name: value}} under "job: step"
        self.summaries: dict[str, str] = {}
        self._lines: dict[str, list[str]] = {}
        self._other: list[str] = []
        self.started: list[Run] = []  # runs that it dispatched, or that its end started
        self.everything = log.read_text(errors="replace")  # with act's own messages, such as environments
        for line in self.everything.splitlines():
            try:
                self._take(json.loads(line))
            except ValueError:
                self._other.append(line)

    def _take(self, entry: dict[str, Any]) -> None:
        job = _job(entry.get("job", ""))
        if "jobResult" in entry:
            self.results[job] = entry["jobResult"]
        elif entry.get("command") == "set-output":
            self.outputs.setdefault(f"{job}: {entry['stepID'][-1]}", {})[entry["name"]] = entry["arg"]
        elif entry.get("command") == "summary":
            summary = self.summaries.get(job, "")
            if not summary.endswith(entry["content"]):  # a composite action repeats the summary of its last step
                self.summaries[job] = summary + entry["content"]
        message = entry.get("msg", "").rstrip()
        if entry.get("level") == "debug" or "\N{GEAR}" in message or message.startswith("LocalRepositoryCache"):
            return
        if job:
            self._lines.setdefault(job, []).append(message)
        else:
            self._other.append(message)

    @property
    def passed(self) -> bool:
        return bool(self.results) and "failure" not in self.results.values()

    @property
    def conclusion(self) -> str:
        return "success" if self.passed else "failure"

    def ran(self) -> list[str]:
        """The jobs that were not skipped."""
        return [job for job, result in self.results.items() if result != "skipped"]

    def output(self, job: str, step: str, name: str) -> str:
        """An output of a step."""
        return self.outputs[f"{job}: {step}"][name]

    def log(self, job: str = "") -> str:
        """The log of a job, or of all jobs."""
        return "\n".join(self._lines[job] if job else [line for lines in self._lines.values() for line in lines])

    def describe(self) -> str:
        """Results of the jobs, and the last lines of those that failed, for messages of tests."""
        return "\n".join([f"{self.workflow} #{self.id} after {self.seconds:.0f} s: {self.results}", *self._failures()])

    def _failures(self) -> Iterator[str]:
        for job, lines in self._lines.items():
            if self.results.get(job) not in ("success", "skipped"):
                end = 2 + next((place for place, line in enumerate(lines) if line.startswith(FAILED)), len(lines))
                yield from (f"-- {job}", *lines[max(0, end - SHOWN) : end])
        if not self.passed:
            yield from ("-- act", *self._other[-SHOWN:])


def _job(text: str) -> str:
    """Shortens act's name `full codebase/full codebase/tests` of a job in a called workflow to CALLER/JOB."""
    parts = text.strip().split("/")
    return "/".join(parts[::2]) if len(parts) == 3 else parts[-1]
