"""Cloud Build's validation of builds: https://cloud.google.com/build/docs/build-config-file-schema"""

import re
from collections.abc import Callable

from google.cloud.devtools.cloudbuild_v1.types import cloudbuild as types
from grpc import StatusCode

from tests.emulators.services import Refused

DOCKER = "gcr.io/cloud-builders/docker"
BUILDER = re.compile(rf"{re.escape(DOCKER)}(@sha256:[0-9a-f]{{64}})?")
BUILT_IN = ("PROJECT_ID", "PROJECT_NUMBER", "BUILD_ID", "LOCATION", "SERVICE_ACCOUNT", "SERVICE_ACCOUNT_EMAIL")
LONGEST = 24 * 3600  # seconds
USED = re.compile(r"\$\$|\$(?:\{(\w+)\}|([A-Z_][A-Z0-9_]*))")


def check(build: types.Build) -> None:
    """Raises Refused for an invalid build."""

    def refuse(message: str) -> None:
        raise Refused(StatusCode.INVALID_ARGUMENT, message)

    if not build.steps:
        refuse("invalid build: a build must have at least one step")
    earlier: set[str] = set()
    for number, step in enumerate(build.steps):
        if not step.name:
            refuse(f"invalid build: step {number} has no name")
        if not BUILDER.fullmatch(step.name) or step.script or step.entrypoint or not step.args:
            refuse(f"step {number}: the local server runs only {DOCKER} with arguments")
        if step.id in earlier and step.id:
            refuse(f"invalid build: more than one step has the ID {step.id!r}")
        if unknown := set(step.wait_for) - earlier - {"-"}:
            refuse(f"invalid build: step {number} depends on {sorted(unknown)}, which is no earlier step")
        if step.timeout and build.timeout and step.timeout > build.timeout:
            refuse(f"invalid build: the timeout of step {number} is longer than the build's")
        earlier.add(step.id)
    if build.timeout and build.timeout.total_seconds() > LONGEST:
        refuse("invalid build: timeout exceeds 24h0m0s")
    if len(build.tags) > 64 or not all(re.fullmatch(r"\w[\w.-]{0,127}", tag) for tag in build.tags):
        refuse(r"invalid build: tags must match ^[\w][\w.-]{0,127}$")
    if build.available_secrets.secret_manager or build.secrets:
        refuse("the local server does not support secrets of builds")
    _check_substitutions(build, refuse)


def _check_substitutions(build: types.Build, refuse: Callable[[str], None]) -> None:
    given = dict(build.substitutions)
    texts: list[str] = [*build.images, *build.tags, build.service_account]
    for step in build.steps:
        texts += [*step.args, *step.env, step.name, step.dir_]
    used = {match[1] or match[2] for text in texts for match in USED.finditer(text) if match[0] != "$$"}
    for name, value in given.items():
        if not re.fullmatch(r"_[A-Z0-9_]{1,99}", name):
            refuse(f"substitution key {name!r} does not match format _[A-Z0-9_]+")
        if len(value) > 4000:
            refuse(f"the value of substitution {name!r} is too long")
    if build.options.substitution_option == types.BuildOptions.SubstitutionOption.ALLOW_LOOSE:
        return
    if unused := set(given) - used:
        refuse(f"key {sorted(unused)[0]!r} in the substitution data is not matched in the template")
    if unknown := used - set(given) - set(BUILT_IN):
        refuse(f"key in the template {sorted(unknown)[0]!r} is not a valid built-in substitution")


def condition(text: str) -> Callable[[types.Build], bool]:
    """A predicate for one comparison of a filter, with double quotes as in the API."""
    match = re.fullmatch(r'\s*(tags|status)\s*=\s*"([^"]+)"\s*', text)
    if not match:
        raise Refused(StatusCode.INVALID_ARGUMENT, f"invalid filter: {text}")
    if match[1] == "tags":
        return lambda build: match[2] in build.tags
    return lambda build: build.status.name == match[2]
