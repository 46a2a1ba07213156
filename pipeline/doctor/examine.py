"""Runs all checks of the doctor, those with calls at the same time; one that fails stops no other."""

import concurrent.futures
import dataclasses
from collections.abc import Callable

from pipeline import google_errors
from pipeline.cloud.calls import without_support_warnings
from pipeline.config import Config
from pipeline.doctor import access, identity, places, repository, serving
from pipeline.doctor.check import CheckFunction, Context, Missing, Unknown, exports, unset, variable
from pipeline.errors import ApiDisabled, NoCredentials, SpanloopError

REQUIRED = ("workspace", "project", "region", "image_repository", "service_account", "build_service_account")
CHECKS: dict[str, CheckFunction] = {
    "project": access.project,
    "APIs": access.apis,
    "your permissions": access.permissions,
    "bucket": places.bucket,
    "objects": places.objects,
    "image repository": places.repository,
    "image": places.image,
    "pipelines' account": access.pipelines_account,
    "pipelines' roles": access.pipelines_roles,
    "build account": access.build_account,
    "build roles": access.build_roles,
    "workflows": identity.workflows,
    "Vertex AI": serving.vertex,
    "machines": serving.machines,
    "AutoML": serving.automl,
    "endpoint": serving.endpoint,
    "devices": serving.devices,
    "secret": serving.secret,
    "release token": repository.release_token,
    "branch rules": repository.branch_rules,
}


@dataclasses.dataclass(frozen=True)
class Check:
    """The result of a check; `ok` is None where the state could not be read."""

    name: str
    ok: bool | None
    found: str = ""
    problem: str = ""
    fix: str = ""  # commands, a line each


def examine(config: Config) -> list[Check]:
    """Checks every resource that the configuration needs, with the caller's credentials."""
    context: list[Context] = []
    settings = run_check("settings", lambda: _settings(config))
    credentials = run_check("credentials", lambda: _credentials(config, context))
    if not context:
        without = [Check(name, None, problem="no credentials") for name in CHECKS]
        return [settings, credentials, *without]
    with concurrent.futures.ThreadPoolExecutor(len(CHECKS)) as pool:
        checks = pool.map(lambda name: run_check(name, lambda: _with_api(CHECKS[name], context[0])), CHECKS)
        return [settings, credentials, *checks]


def _with_api(check: CheckFunction, context: Context) -> str:
    """Runs a check of a service whose API may not be enabled."""
    try:
        return check(context)
    except ApiDisabled as disabled:
        raise access.not_enabled(context, disabled.place) from None


def run_check(name: str, check: Callable[[], str]) -> Check:
    """Runs one check."""
    try:
        return Check(name, True, found=check())
    except Unknown as unknown:
        return Check(name, None, problem=str(unknown), fix=unknown.fix)
    except Missing as missing:
        return Check(name, False, problem=str(missing), fix=missing.fix)
    except SpanloopError as error:
        return Check(name, None, problem=str(error))
    except Exception as error:  # an error in one check must not hide the results of the others
        return Check(name, None, problem=f"unexpected {type(error).__name__}: {error}")


def _settings(config: Config) -> str:
    if absent := unset(config, REQUIRED):
        raise Missing(f"not set: {', '.join(map(variable, absent))}", *exports(config, absent))
    return "all required settings are set"


def _credentials(config: Config, context: list[Context]) -> str:
    """Reads the caller's credentials, and appends the context of the other checks to `context`."""
    with without_support_warnings():
        import google.auth
        import google.auth.exceptions
        import google.auth.transport.requests

        from pipeline.cloud.rest import SCOPES, Rest

    try:
        credentials, _ = google.auth.default(scopes=SCOPES)
        credentials.refresh(google.auth.transport.requests.Request())
    except google.auth.exceptions.GoogleAuthError as error:
        found = google_errors.explain(error)
        if isinstance(found, NoCredentials):
            raise Missing(found.problem, "gcloud auth application-default login") from None
        raise Missing(str(found)) from None
    caller = getattr(credentials, "service_account_email", "") or getattr(credentials, "account", "")
    context.append(Context(config, Rest(credentials), caller))
    return caller or "a user's own login"
