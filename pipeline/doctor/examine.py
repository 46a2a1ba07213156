"""Runs all checks of the doctor, those with calls at the same time; one that fails stops no other."""

import concurrent.futures
import dataclasses
from collections.abc import Callable

from pipeline.cloud.calls import without_support_warnings
from pipeline.config import Config
from pipeline.doctor import access, places, serving
from pipeline.doctor.check import Asking, Look, Missing, Unknown, exports, unset
from pipeline.errors import SpanloopError

REQUIRED = ("workspace", "project", "region", "image_repository", "service_account", "build_service_account")
LOOKS: dict[str, Look] = {
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
    "Vertex AI": serving.vertex,
    "endpoint": serving.endpoint,
    "secret": serving.secret,
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
    asking: list[Asking] = []
    settings = run_check("settings", lambda: _settings(config))
    credentials = run_check("credentials", lambda: _credentials(config, asking))
    if not asking:
        without = [Check(name, None, problem="no credentials") for name in LOOKS]
        return [settings, credentials, *without]
    with concurrent.futures.ThreadPoolExecutor(len(LOOKS)) as pool:
        looked = pool.map(lambda name: run_check(name, lambda: LOOKS[name](asking[0])), LOOKS)
        return [settings, credentials, *looked]


def run_check(name: str, look: Callable[[], str]) -> Check:
    """Runs one check."""
    try:
        return Check(name, True, found=look())
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
        names = [export.split()[1].partition("=")[0] for export in exports(absent)]
        raise Missing(f"not set: {', '.join(names)}", *exports(absent))
    return "all required settings are set"


def _credentials(config: Config, asking: list[Asking]) -> str:
    """Reads the caller's credentials, and appends the context of the other checks to `asking`."""
    with without_support_warnings():
        import google.auth
        import google.auth.exceptions
        import google.auth.transport.requests

        from pipeline.doctor.rest import Rest

    login = "gcloud auth application-default login"
    try:
        credentials, _ = google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])
        credentials.refresh(google.auth.transport.requests.Request())
    except google.auth.exceptions.DefaultCredentialsError:
        raise Missing("no credentials found", login) from None
    except google.auth.exceptions.GoogleAuthError as error:
        raise Missing(f"they are not valid: {error}", login) from None
    who = getattr(credentials, "service_account_email", "") or getattr(credentials, "account", "")
    asking.append(Asking(config, Rest(credentials), who))
    return who or "a user's own login"
