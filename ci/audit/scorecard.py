"""The checks of OpenSSF Scorecard, as far as files can tell.

https://github.com/ossf/scorecard/blob/main/docs/checks.md describes them. Those about a repository's history and its
settings on GitHub have no function here: SECURITY.md says what holds.
"""

import functools
import json
import os
import pathlib
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

from ci.audit.finding import POLICY, Check, Finding
from ci.audit.locks import npm_locks
from pipeline.errors import UsageError
from pipeline.packaging import image

WORKFLOWS = ".github/workflows"
RULESET, DEPENDABOT = ".github/rulesets/default-branch.json", ".github/dependabot.yml"
BASES, BUILD = "cloudbuild/bases/Dockerfile", "cloudbuild/cloudbuild.yaml"
HASHED = ("requirements.txt", "cloudbuild/cpu.txt", "cloudbuild/gpu.txt", "cloudbuild/uv.txt")
EXECUTABLE = (
    b"\x7fELF",
    b"MZ",
    b"\xfe\xed\xfa",
    b"\xce\xfa\xed\xfe",
    b"\xcf\xfa\xed\xfe",
    b"\xca\xfe\xba\xbe",
    b"\0asm",
)
PACKED = (b"PK\x03\x04", b"!<arch>\n", b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"dex\n")
NOT_IN_FILES = "the files do not tell"

# What zizmor's rules are about, where it is not a dangerous workflow: https://docs.zizmor.sh/audits/
PINS = ("unpinned-images", "unpinned-tools", "unpinned-uses")
PERMISSIONS = ("excessive-permissions", "undocumented-permissions")


class Scorecard:
    """The checks on the repository in a folder."""

    def __init__(self, root: str):
        self._root = root
        self._files = [name for name in image.tracked(root) if os.path.isfile(os.path.join(root, name))]

    @functools.cached_property
    def _zizmor(self) -> list[tuple[str, str, str]]:
        return list(_zizmor(self._root))

    def checks(self) -> list[Check]:
        """Returns the result of every check, in the order of the alphabet."""
        return list(map(self.check, CHECKS))

    def check(self, name: str) -> Check:
        """Returns the result of one check."""
        about, find = CHECKS[name]
        problems = find(self) if find else [("", NOT_IN_FILES)]
        return Check(name, about, tuple(Finding(name, subject, problem) for subject, problem in problems))

    def _text(self, path: str) -> str:
        """Returns the text of a file, "" where it is missing."""
        file = pathlib.Path(self._root, path)
        return file.read_text(encoding="utf-8") if file.is_file() else ""

    @functools.cached_property
    def _workflows(self) -> dict[str, dict[str, Any]]:
        import yaml

        paths = [path for path in self._files if os.path.dirname(path) == WORKFLOWS]
        # BaseLoader leaves `on` a string
        return {path: yaml.load(self._text(path), yaml.BaseLoader) for path in paths}

    def _runs(self, trigger: str) -> str:
        """Returns the text of all workflows that a trigger starts."""
        return "\n".join(self._text(path) for path, of in self._workflows.items() if trigger in of["on"])

    def binary_artifacts(self) -> Iterator[tuple[str, str]]:
        for path in self._files:
            with open(os.path.join(self._root, path), "rb") as file:
                if file.read(8).startswith(EXECUTABLE + PACKED) or path.endswith((".pyc", ".whl", ".jar", ".so")):
                    yield path, "a program or an archive, which cannot be reviewed"

    def branch_protection(self) -> Iterator[tuple[str, str]]:
        rules = json.loads(self._text(RULESET) or "{}")
        found = {rule["type"]: rule.get("parameters", {}) for rule in rules.get("rules", ())}
        reviews = found.get("pull_request", {})
        wanted = {
            "is not active": rules.get("enforcement") == "active",
            "is not about the default branch": "~DEFAULT_BRANCH" in json.dumps(rules.get("conditions", {})),
            "allows deletion": "deletion" in found,
            "allows force pushes": "non_fast_forward" in found,
            "asks for no review": reviews.get("required_approving_review_count", 0) >= 1,
            "asks no code owner": bool(reviews.get("require_code_owner_review")),
            "keeps reviews of older pushes": bool(reviews.get("dismiss_stale_reviews_on_push")),
            "lets who pushed last approve": bool(reviews.get("require_last_push_approval")),
            "asks for no check": bool(found.get("required_status_checks", {}).get("required_status_checks")),
        }
        yield from ((RULESET, problem) for problem, holds in wanted.items() if not holds)

    def ci_tests(self) -> Iterator[tuple[str, str]]:
        if "run: make test\n" not in self._runs("pull_request"):
            yield "", "no workflow runs `make test` for pull requests"

    def dangerous_workflow(self) -> Iterator[tuple[str, str]]:
        yield from (found[1:] for found in self._zizmor if found[0] not in PINS + PERMISSIONS)

    def dependency_update_tool(self) -> Iterator[tuple[str, str]]:
        import yaml

        updates = (yaml.safe_load(self._text(DEPENDABOT)) or {}).get("updates", ())
        updated = {(of["package-ecosystem"], of["directory"]) for of in updates}
        locks = {("npm", f"/{os.path.dirname(path)}") for path in npm_locks(self._root)}
        wanted = locks | {("uv", "/"), ("github-actions", "/"), ("docker", f"/{os.path.dirname(BASES)}")}
        yield from ((DEPENDABOT, f"no updates of {kind} in {folder}") for kind, folder in sorted(wanted - updated))

    def fuzzing(self) -> Iterator[tuple[str, str]]:
        if ".clusterfuzzlite/Dockerfile" not in self._files:
            yield "", "there is no fuzzer"

    def license(self) -> Iterator[tuple[str, str]]:
        named = re.search(r'^license = "(.+)"$', self._text("pyproject.toml"), re.M)
        if not named or named[1] != "Apache-2.0" or "Apache License\n" not in self._text("LICENSE"):
            yield "", "LICENSE and pyproject.toml do not both have the Apache License 2.0"

    def packaging(self) -> Iterator[tuple[str, str]]:
        if "packages: write" not in "".join(map(self._text, self._workflows)):
            yield "", "no workflow publishes a package"

    def pinned_dependencies(self) -> Iterator[tuple[str, str]]:
        yield from (found[1:] for found in self._zizmor if found[0] in PINS)
        for path in HASHED:
            if wrong := [of for of in self._text(path).replace("\\\n", "").splitlines() if is_unpinned(of)]:
                yield path, f"no checksum of {wrong[0]}"
        for path, entries in npm_locks(self._root).items():
            if wrong := [name for name, entry in entries if not entry.get("integrity")]:
                yield path, f"no checksum of {wrong[0]}"
        images = {BASES: r"^FROM (\S+)", BUILD: r"^ +name: (\S+)"}
        for path, pattern in images.items():
            tags = [
                of for of in re.findall(pattern, self._text(path), re.M) if not re.search("@sha256:[0-9a-f]{64}$", of)
            ]
            if tags:
                yield path, f"by tag, not by digest: {', '.join(tags)}"

    def sast(self) -> Iterator[tuple[str, str]]:
        if "github/codeql-action" not in self._runs("pull_request"):
            yield "", "CodeQL, for which Scorecard looks, runs in no workflow"

    def sbom(self) -> Iterator[tuple[str, str]]:
        written = re.search(
            r"^sbom:.*\n\t.* --format cyclonedx\S+ .*--output-file sbom.json", self._text("Makefile"), re.M
        )
        if not written or "path: sbom.json" not in "".join(map(self._text, self._workflows)):
            yield "", "no workflow keeps the list of packages that `make sbom` writes"

    def security_policy(self) -> Iterator[tuple[str, str]]:
        if not re.search(r"^## Report a vulnerability\n\n\S", self._text(POLICY), re.M):
            yield "", f"{POLICY} does not say how to report a vulnerability"

    def signed_releases(self) -> Iterator[tuple[str, str]]:
        if "uses: actions/attest-build-provenance@" not in self._runs("release"):
            yield "", "no workflow attests what is released"

    def token_permissions(self) -> Iterator[tuple[str, str]]:
        yield from (found[1:] for found in self._zizmor if found[0] in PERMISSIONS)
        for path, workflow in self._workflows.items():
            if workflow.get("permissions") != {}:
                yield path, "does not begin with `permissions: {}`"


Find = Callable[[Scorecard], Iterator[tuple[str, str]]]  # yields (subject, problem)

# {check: (what holds, the function that finds what does not)}; Vulnerabilities has a file of its own.
CHECKS: dict[str, tuple[str, Find | None]] = {
    "Binary-Artifacts": ("no file is a program or an archive", Scorecard.binary_artifacts),
    "Branch-Protection": (f"{RULESET} protects the default branch where it is installed", Scorecard.branch_protection),
    "CI-Tests": ("pull requests are tested", Scorecard.ci_tests),
    "CII-Best-Practices": ("", None),
    "Code-Review": ("", None),
    "Contributors": ("", None),
    "Dangerous-Workflow": ("zizmor finds nothing", Scorecard.dangerous_workflow),
    "Dependency-Update-Tool": ("Dependabot updates every lock file", Scorecard.dependency_update_tool),
    "Fuzzing": ("ClusterFuzzLite fuzzes what reads input from outside", Scorecard.fuzzing),
    "License": ("the Apache License 2.0", Scorecard.license),
    "Maintained": ("", None),
    "Packaging": ("a workflow publishes packages", Scorecard.packaging),
    "Pinned-Dependencies": ("everything is named by commit, checksum or digest", Scorecard.pinned_dependencies),
    "SAST": ("CodeQL runs for pull requests", Scorecard.sast),
    "SBOM": ("a workflow keeps the list of the image's packages", Scorecard.sbom),
    "Security-Policy": (f"{POLICY} says how to report a vulnerability", Scorecard.security_policy),
    "Signed-Releases": ("released models are attested", Scorecard.signed_releases),
    "Token-Permissions": ("each job's token may only what its job needs", Scorecard.token_permissions),
    "Webhooks": ("", None),
}


def is_unpinned(line: str) -> bool:
    """True for a requirement without a checksum."""
    return bool(re.match(r"[A-Za-z0-9]", line)) and "--hash=sha256:" not in line


def _zizmor(root: str) -> Iterator[tuple[str, str, str]]:
    """Yields (rule, path, problem) of what zizmor finds in workflows and actions, as `make lint` runs it."""
    program = os.path.join(os.path.dirname(sys.executable), "zizmor")
    options = ["--offline", "--no-progress", "--strict-collection", "--persona=auditor", "--format=json-v1"]
    try:
        done = subprocess.run([program, *options, ".github"], cwd=root, capture_output=True, text=True)
        found = json.loads(done.stdout)
    except FileNotFoundError:
        raise UsageError("zizmor is not installed: run `make install`.") from None
    except ValueError:
        raise UsageError(f"zizmor cannot read .github: {done.stderr.strip()}. See `make lint`.") from None
    for finding in found:
        if not finding["ignored"]:
            place = finding["locations"][0]["symbolic"]["key"]["Local"]["verbatim_path"]
            yield finding["ident"], place, finding["desc"]
