"""Runs the whole loop on real images with the real commands and writes a report: `make demo`."""

import collections
import contextlib
import datetime
import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import click
import rich.console

from ci import own_workspace
from ci.outcome import Outcome, command
from pipeline.batch import here
from pipeline.batch.evaluation import LeftOut, new_images, span_images
from pipeline.config import Config
from pipeline.data import digits, spans
from pipeline.errors import SpanloopError
from pipeline.formatting import counted, duration, listed, percent
from pipeline.quality.scores import Prediction, score
from pipeline.releases.factory import releases_of
from pipeline.reporting.story_page import Span, Step, Story, story_page
from pipeline.storage.factory import open_storage

GROUP = "models"

FEW, ENOUGH, MORE = 20, 300, 480  # digits of the changed camera: first come FEW, then MORE, then the others
CAMERAS = ("first camera", "changed camera")
SHOWN = 24  # pictures of what the new model gets right


class StoryBroken(SpanloopError):
    """A step of the demo had an unexpected result."""


@command
@click.option(
    "--folder", default="./workspace-demo", show_default=True, help="The demo's workspace; it is emptied first."
)
def demo(config: Config, folder: str) -> Outcome:
    """Runs the whole loop on real images, with the real commands, and writes a report."""
    with own_workspace.afresh(folder, "demo"):
        runner = Runner(folder)
        run_story(runner)
        with runner.busy("Evaluating both releases on the same new pictures"):
            story = story_of(runner.steps, Config(workspace=folder))
        report = os.path.abspath(os.path.join(folder, "report.html"))
        with open(report, "w", encoding="utf-8") as file:
            file.write(story_page(story))
    return Outcome(
        f"The camera changed, and {story.old.tag} got {percent(story.before.accuracy)} right. The loop made and "
        f"released {story.new.tag}: {percent(story.after.accuracy)}, after {duration(story.seconds)}.\n"
        f"Open in a browser: {report}\n"
        f"Go on by hand: export WORKSPACE={folder}, then .venv/bin/python -m ci status",
        report=report,
        workspace=folder,
        before=story.before.accuracy,
        after=story.after.accuracy,
        seconds=round(runner.seconds, 1),
    )


class Runner:
    """Runs commands as a user would type them, in a separate workspace, and records their results."""

    def __init__(self, workspace: str, **settings: str):
        self.steps: list[Step] = []
        self.environment = own_workspace.environment(os.environ, WORKSPACE=workspace, **settings)
        self._console = rich.console.Console(
            stderr=True, highlight=False, markup=False, soft_wrap=True, force_terminal=sys.stderr.isatty()
        )
        self._chapter = ""
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        """Since the story began."""
        return time.monotonic() - self._began

    def chapter(self, name: str) -> None:
        """Begins the next part of the story."""
        self._chapter = name
        self._console.print(f"\n{name}", style="bold underline")

    def run(self, *arguments: str, said: Callable[[dict], str], expected: Callable[[dict], bool]) -> dict:
        """Runs `python -m ci ARGUMENTS`; returns its JSON. Raises StoryBroken unless that is `expected`."""
        typed = " ".join(["python -m ci", *arguments])
        self.show(typed)
        began = self.seconds
        # With --json the text for people goes to stderr, which the command inherits.
        process = [sys.executable, "-m", "ci", *arguments, "--json"]
        done = subprocess.run(process, env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        if done.returncode:
            raise StoryBroken(f"The demo stopped: `{typed}` failed, see its error above.")
        found = json.loads(done.stdout)
        if not expected(found):
            raise StoryBroken(f"The demo stopped, because `{typed}` had an unexpected result. {said(found)}")
        self.add(typed, said(found), began)
        return found

    def show(self, typed: str) -> None:
        """Prints a command before it runs."""
        self._console.print(f"\n$ {typed}", style="bold cyan")

    def add(self, typed: str, said: str, began: float) -> None:
        """Records a step that ends now."""
        seconds = self.seconds - began
        self.steps.append(Step(self._chapter, typed, said, began, seconds))
        self._console.print(f"({duration(seconds)})", style="dim")

    def say(self, text: str) -> None:
        """Prints what is no step."""
        self._console.print(text)

    @contextlib.contextmanager
    def busy(self, doing: str) -> Iterator[None]:
        """Shows a slow operation."""
        self._console.print(f"\n{doing}", style="bold underline")
        with self._console.status("a moment"):
            yield


def run_story(runner: Runner) -> None:
    """Runs every command of the story, in order."""
    count = ("count-collected", "--threshold", str(ENOUGH))
    collect = ("import-images", "--demo", "--collect")

    runner.chapter("Pictures from the first camera")
    runner.run("import-images", "--demo", said=imported, expected=lambda found: found["span"] == 1)
    runner.run("train", said=trained, expected=lambda found: found["release"] is not None)

    runner.chapter("The camera changes: too few pictures to evaluate on")
    runner.run(*collect, "--limit", str(FEW), said=imported, expected=lambda found: found["imported"] == FEW)
    runner.run(*count, said=enough, expected=lambda found: not found["enough"])

    runner.chapter("Enough pictures, and the released model fails on them")
    skip = ("--skip", str(FEW), "--limit", str(MORE))
    runner.run(*collect, *skip, said=imported, expected=lambda found: found["imported"] == MORE)
    runner.run(*count, said=enough, expected=lambda found: found["enough"])
    runner.run("evaluate", said=evaluated, expected=lambda found: found["should_retrain"])

    runner.chapter("The loop retrains the model")
    runner.run("retrain", said=retrained, expected=lambda found: found["span"] == 2 and found["release"] is not None)

    runner.chapter("Pictures that no model has seen")
    rest = digits.COUNTS[digits.CHANGED] - FEW - MORE
    skip = ("--skip", str(FEW + MORE))
    runner.run(*collect, *skip, said=imported, expected=lambda found: found["imported"] == rest)
    runner.run("evaluate", said=evaluated, expected=lambda found: found["images"] and not found["should_retrain"])
    runner.run("status", said=standing, expected=lambda found: len(found["spans"]) == len(found["releases"]) == 2)


def imported(found: dict) -> str:
    became = f"became span {found['span']}" if found["span"] else "collected"
    return f"{counted(found['imported'], 'picture')} {became}."


def enough(found: dict) -> str:
    return f"{found['counted']} of {ENOUGH} pictures: {'enough to evaluate' if found['enough'] else 'wait for more'}."


def trained(found: dict) -> str:
    spans_of = f"span{'s' if len(found['spans']) > 1 else ''} {listed(found['spans'])}"
    released = (
        f"Released as {found['release']}." if found["release"] else f"Not released: {'; '.join(found['reasons'])}."
    )
    return f"Trained on {spans_of}: {percent(found['metrics']['accuracy'])} of what was kept out is right. {released}"


def retrained(found: dict) -> str:
    if found["span"] is None:
        return "There was nothing to make a span of."
    return f"{counted(found['images'], 'picture')} became span {found['span']}. {trained(found)}"


def evaluated(found: dict) -> str:
    if not found["images"]:
        return "There was nothing to evaluate on."
    right = f"{percent(found['accuracy'])} of {counted(found['images'], 'picture')} right"
    return f"{found['release']} gets {right}: {'retrain' if found['should_retrain'] else 'keep it'}."


def standing(found: dict) -> str:
    parts = (len(found["spans"]), "span"), (len(found["releases"]), "release"), (found["collected"], "new picture")
    return f"{listed(counted(*part) for part in parts)}. Next: {found['next']['action']}."


def of_every_label(corrected: list[tuple[Prediction, Prediction]]) -> list[tuple[Prediction, Prediction]]:
    """Sorts pairs (as the old model sees it, as the new one does) so that labels take turns, the surest first."""
    by_label = collections.defaultdict(list)
    for was, now in sorted(corrected, key=lambda pair: -pair[1].confidence):
        by_label[now.label].append((was, now))
    turns = itertools.zip_longest(*(pairs for _, pairs in sorted(by_label.items())))
    return [pair for turn in turns for pair in turn if pair]


def story_of(steps: list[Step], config: Config) -> Story:
    """Evaluates both releases on the same images, none of them used in training, and assembles the report."""
    storage, releases = open_storage(config.workspace), releases_of(config)
    new, old = map(releases.get, releases.tags())
    published = spans.published(storage)
    fresh = list(new_images(storage, LeftOut()))
    on_spans, on_fresh = {}, {}
    for release in (old, new):
        with here.predictor(config, release) as predict:
            on_spans[release.tag] = {span.number: score(predict(span_images(span, "eval")))[0] for span in published}
            on_fresh[release.tag] = list(predict(fresh))
    corrected = [(was, now) for was, now in zip(*on_fresh.values(), strict=True) if now.correct and not was.correct]
    return Story(
        created=datetime.datetime.now(datetime.timezone.utc),
        workspace=config.workspace,
        threshold=config.accuracy_threshold,
        steps=steps,
        spans=[
            Span(span.number, camera, span.images - kept_out, kept_out)
            for span, camera in zip(published, CAMERAS, strict=True)
            for kept_out in [on_spans[new.tag][span.number].images]
        ],
        old=old,
        new=new,
        on_spans=on_spans,
        fresh={tag: score(predictions)[0] for tag, predictions in on_fresh.items()},
        corrected=of_every_label(corrected)[:SHOWN],
        strips=[
            (camera, [image for _, image in itertools.islice(digits.images(seen), 6)])
            for camera, seen in zip(CAMERAS, (digits.FIRST, digits.CHANGED), strict=True)
        ],
    )
