"""A run of a workflow, read from what `act` has logged."""

import json
import pathlib
from collections.abc import Iterator
from typing import Any

SHOWN = 40  # lines of a job that failed
FAILED = "  \N{CROSS MARK}  Failure"  # how act ends a step


class Run:
    """What became of a run: its jobs with their outputs and summaries, by name.

    A job of a workflow that is called is named after both: "modules only/deploy".
    """

    def __init__(self, workflow: str, id: int, sha: str, log: pathlib.Path, seconds: float):
        self.workflow, self.id, self.sha, self.seconds = workflow, id, sha, seconds
        self.results: dict[str, str] = {}  # "success", "failure" or "skipped", in the order in which they ended
        self.outputs: dict[str, dict[str, str]] = {}  # of a job's steps: {step: {name: value}} under "job: step"
        self.summaries: dict[str, str] = {}
        self._lines: dict[str, list[str]] = {}
        self._other: list[str] = []
        self.started: list[Run] = []  # what it dispatched, and what waits for its end
        self.everything = log.read_text(errors="replace")  # also what act tells about itself, such as environments
        for line in self.everything.splitlines():
            try:
                self._take(json.loads(line))
            except ValueError:
                self._other.append(line)

    def _take(self, told: dict[str, Any]) -> None:
        job = _job(told.get("job", ""))
        if "jobResult" in told:
            self.results[job] = told["jobResult"]
        elif told.get("command") == "set-output":
            self.outputs.setdefault(f"{job}: {told['stepID'][-1]}", {})[told["name"]] = told["arg"]
        elif told.get("command") == "summary":
            there = self.summaries.get(job, "")
            if not there.endswith(told["content"]):  # a composite action repeats what its last step has told
                self.summaries[job] = there + told["content"]
        message = told.get("msg", "").rstrip()
        if told.get("level") == "debug" or "\N{GEAR}" in message or message.startswith("LocalRepositoryCache"):
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
        """What a step has put out."""
        return self.outputs[f"{job}: {step}"][name]

    def log(self, job: str = "") -> str:
        """What a job has written, or all of them."""
        return "\n".join(self._lines[job] if job else [line for lines in self._lines.values() for line in lines])

    def tell(self) -> str:
        """Why it is not what was expected: the results, and the last lines of what failed."""
        return "\n".join([f"{self.workflow} #{self.id} after {self.seconds:.0f} s: {self.results}", *self._failures()])

    def _failures(self) -> Iterator[str]:
        for job, lines in self._lines.items():
            if self.results.get(job) not in ("success", "skipped"):
                end = 2 + next((place for place, line in enumerate(lines) if line.startswith(FAILED)), len(lines))
                yield from (f"-- {job}", *lines[max(0, end - SHOWN) : end])
        if not self.passed:
            yield from ("-- act", *self._other[-SHOWN:])


def _job(text: str) -> str:
    """`full codebase/full codebase/tests` is the job tests of the workflow that the job "full codebase" calls."""
    parts = text.strip().split("/")
    return "/".join(parts[::2]) if len(parts) == 3 else parts[-1]
