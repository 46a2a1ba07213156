"""Words that code, comments, messages and pages do not use, each with the term to use instead."""

import pathlib
import re
from collections.abc import Iterator

import pytest

from tests.test_repository import ROOT, files

# Names of classes, and of what is named after them.
NAMES = {
    "NotThere": "ObjectNotFound",
    "UnfitSpec": "InvalidSpec",
    "UnfitImage": "IncompatibleImage",
    "NotAClone": "NotARepository",
}
# Patterns of whole words; words in identifiers count: `told` is found in `_told` and `is_told`.
TERMS = {
    "told": "cloud_errors, github_errors, os_errors, format_...; or name the value: output, message, fields",
    "tells|telling": "shows, prints, names, reports, distinguishes",
    "quietly": "without_support_warnings",
    "patient|patience": "retry_policy, GitHubRetry",
    "judge|judges|judged|judging": "evaluate, Prediction, predictor",
    "mend|mends|mended|mending": "fix",
    "anew": "again; or the exact verb: recreate, rewrite",
    "to be had": "available, has capacity",
    "of ours": "our; or name the owner",
    "nobody|somebody|anybody|whoever": "name the actor: a user, a caller, a client, another process",
    "what comes of|what came of": "the result, the outcome",
    "as new": "empty, after a reset",
}
TEXTS = {"", ".css", ".html", ".js", ".md", ".py", ".toml", ".txt", ".yaml", ".yml"}
CHECKED = (
    ".ci",
    ".github",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Makefile",
    "README.md",
    "SECURITY.md",
    "apps",
    "benchmarks",
    "ci",
    "cloudbuild",
    "docs",
    "install.py",
    "pipeline/batch",
    "pipeline/cloud",
    "pipeline/components",
    "pipeline/config.py",
    "pipeline/doctor",
    "pipeline/errors.py",
    "pipeline/formatting.py",
    "pipeline/github",
    "pipeline/orchestrators",
    "pipeline/outcomes.py",
    "pipeline/packaging",
    "pipeline/plan.py",
    "pipeline/progress",
    "pipeline/releases",
    "pipeline/reporting",
    "pipeline/retraining.py",
    "pipeline/retry.py",
    "pipeline/serving",
    "pipeline/setup",
    "pipeline/storage",
    "pipeline/training.py",
    "tests/__init__.py",
    "tests/apps",
    "tests/ci",
    "tests/clone.py",
    "tests/conftest.py",
    "tests/containers.py",
    "tests/documentation.py",
    "tests/emulators",
    "tests/gcloud.py",
    "tests/image",
    "tests/modern",
    "tests/pipeline/batch",
    "tests/pipeline/cloud",
    "tests/pipeline/components",
    "tests/pipeline/doctor",
    "tests/pipeline/github",
    "tests/pipeline/orchestrators",
    "tests/pipeline/progress",
    "tests/pipeline/releases",
    "tests/pipeline/reporting",
    "tests/pipeline/serving",
    "tests/pipeline/setup",
    "tests/pipeline/storage",
    "tests/pipeline/test_outcomes.py",
    "tests/pipeline/test_plan.py",
    "tests/pipeline/test_retry.py",
    "tests/pipeline/test_training.py",
    "tests/places.py",
    "tests/serving.py",
    "tests/test_documentation.py",
    "tests/test_install.py",
    "tests/test_repository.py",
    "tests/workflows",
)
HERE = pathlib.Path(__file__).resolve().relative_to(ROOT)


def words(line: str) -> str:
    """The words of a line in lower case: `JudgedImages` and `judged_images` become `judged images`."""
    line = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", line.replace(".tell()", ""))  # of Python's files
    return " ".join(re.findall(r"[a-z0-9]+", line.lower()))


def misused(line: str) -> Iterator[tuple[str, str]]:
    """Yields each discouraged word of a line, and the term to use instead."""
    text = words(line)
    for pattern, term in TERMS.items():
        for match in re.finditer(rf"\b(?:{pattern})\b", text):
            yield match.group(), term
    yield from ((name, term) for name, term in NAMES.items() if name in line)


def is_checked(path: pathlib.Path) -> bool:
    """True for text that people of this project wrote: no lock files, no exported requirements, not this list."""
    locks = path.name.endswith((".lock", "-lock.json")) or path.name in ("LICENSE", "requirements.txt")
    return path.suffix in TEXTS and not locks and path != HERE


@pytest.mark.parametrize("place", CHECKED)
def test_code_and_pages_use_the_terms_of_the_field(place):
    paths = [path.relative_to(ROOT) for path in files()]
    checked = [path for path in paths if path.is_relative_to(place) and is_checked(path)]
    found = [
        f"{path}:{number}: {word!r}, use instead: {term}"
        for path in checked
        for number, line in enumerate((ROOT / path).read_text(encoding="utf-8").splitlines(), 1)
        for word, term in misused(line)
    ]
    assert checked, f"{place} is not in the repository"
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "line, word",
    [
        ("def _told(release):", "told"),
        ("raise NotThere(name)", "NotThere"),
        ("from pipeline.errors import UnfitImage, NoSpans", "UnfitImage"),
        ("judged_images = 3", "judged"),
        ("# the first machine that is to be had", "to be had"),
        ("f'Mend that, then try again: {name}'", "mend"),
        ("a mistake of ours, not of theirs", "of ours"),
    ],
)
def test_a_discouraged_word_is_found_in_names_comments_and_messages(line, word):
    assert [found for found, _ in misused(line)] == [word]


@pytest.mark.parametrize(
    "line", ["recommended", "it is not there", "hours = 3", "import tellurium", "an untold number", "amendment"]
)
def test_a_word_that_only_contains_a_discouraged_one_is_accepted(line):
    assert list(misused(line)) == []
