"""Compares a project with the table of its resources, and creates or changes what differs.

Nothing is deleted, but who may no longer sign in as the workflows' account loses that role.

Each change looks at what is there first, so a call that was interrupted, or two at a time, end with the same project.
"""

import base64
import contextlib
import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from pipeline import retry
from pipeline.cloud.rest import NoAnswer, Rest
from pipeline.config import Config
from pipeline.errors import CloudRefused
from pipeline.progress import Log, no_log
from pipeline.setup.resources import ACCOUNT, BUCKET, FEDERATED, PROJECT, Grant, Resource, Table, overlay

SERVICE_USAGE = "https://serviceusage.googleapis.com/v1"
CREATE, CHANGE, NEVER, THERE = "+", "~", "-", "="
MOST_APIS = 20  # in one call: https://cloud.google.com/service-usage/docs/reference/rest/v1/services/batchEnable

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Step:
    """A line of a plan: `sign` is CREATE, CHANGE, THERE, or NEVER for a difference that cannot be changed."""

    sign: str
    what: str
    details: tuple[str, ...] = ()


def project_number(rest: Rest, config: Config) -> str:
    """Returns the project's number. Raises CloudRefused.

    By Service Usage, which is enabled in every new project, unlike Resource Manager:
    https://cloud.google.com/service-usage/docs/enabled-service#default
    """
    with _refused(f"Reading the project {config.project}"):
        name = f"projects/{config.project}/services/serviceusage.googleapis.com"
        return rest.get(f"{SERVICE_USAGE}/{name}")["parent"].partition("/")[2]


def plan(rest: Rest, config: Config, table: Table) -> list[Step]:
    """Returns what `apply` would do. Raises CloudRefused."""
    with _refused(f"Reading the project {config.project}"):
        steps = [_api_step(api, api in _enabled(rest, config, table)) for api in table.apis]
        steps += [_compared(resource, _read(rest, resource)) for resource in table.resources]
        for place, grants in _by_place(table).items():
            policy = _policy(rest, place)
            steps += _grant_steps(policy, grants)
    return steps


def apply(rest: Rest, config: Config, table: Table, log: Log = no_log) -> list[Step]:
    """Creates and changes what differs, one after the other; returns what was done. Raises CloudRefused.

    `log` gets a line for each step that changes something.
    """
    done: list[Step] = []

    def note(step: Step) -> None:
        done.append(step)
        if step.sign in (CREATE, CHANGE):
            log(f"{step.sign} {step.what}")

    for step in _patiently("Enabling APIs", lambda: _enable(rest, config, table)):
        note(step)
    for resource in table.resources:
        note(_patiently(f"Creating the {title(resource)}", lambda resource=resource: _ensure(rest, config, resource)))
    for place, grants in _by_place(table).items():
        doing = f"Granting roles on the {title(place)}"
        for step in _patiently(doing, lambda place=place, grants=grants: _ensure_grants(rest, place, grants)):
            note(step)
    return done


def title(resource: Resource) -> str:
    """Returns 'bucket gs://b in europe-west1'."""
    place = f" in {resource.fixed['location']}" if "location" in resource.fixed else ""
    return f"{resource.kind.label} {resource.short}{place}"


# APIs


def _enabled(rest: Rest, config: Config, table: Table) -> set[str]:
    names = [f"projects/{config.project}/services/{api}" for api in table.apis]
    found = rest.get(f"{SERVICE_USAGE}/projects/{config.project}/services:batchGet", names=names)["services"]
    return {service["name"].rpartition("/")[2] for service in found if service["state"] == "ENABLED"}


def _enable(rest: Rest, config: Config, table: Table) -> list[Step]:
    there = _enabled(rest, config, table)
    absent = [api for api in table.apis if api not in there]
    for start in range(0, len(absent), MOST_APIS):
        body = {"serviceIds": absent[start : start + MOST_APIS]}
        url = f"{SERVICE_USAGE}/projects/{config.project}/services:batchEnable"
        rest.wait(SERVICE_USAGE, rest.post(url, body))
    return [_api_step(api, api in there) for api in table.apis]


def _api_step(api: str, enabled: bool) -> Step:
    return Step(THERE if enabled else CREATE, f"API {api}")


# Resources


def _read(rest: Rest, resource: Resource) -> dict[str, Any] | None:
    """Returns a resource as its service describes it; None where it is not there, or its API is not enabled yet."""
    try:
        return rest.get(resource.url)
    except NoAnswer as refused:
        if refused.status == 404 or refused.disabled:
            return None
        raise


def _compared(resource: Resource, found: dict[str, Any] | None) -> Step:
    if found is None:
        return Step(CREATE, title(resource))
    wrong = [f"{name} is {found.get(name)}" for name, value in resource.fixed.items() if not _fits(found, name, value)]
    if wrong:
        details = (*wrong, "it cannot be changed: give the setting another name, or delete it yourself")
        return Step(NEVER, title(resource), details)
    changes = list(_changes(resource, found))
    return Step(CHANGE if changes else THERE, title(resource), tuple(changes))


def _fits(found: Mapping[str, Any], name: str, wanted: Any) -> bool:
    """True when a field that cannot be changed is as wanted."""
    if name == "location":
        # the multi-region EU contains regions such as europe-west1
        place = str(found[name]).lower()
        return place == wanted or (found.get("locationType") == "multi-region" and wanted.startswith(place))
    if name == "replication":
        return True  # any replication keeps a secret
    return overlay(found.get(name), wanted) == found.get(name)


def _changes(resource: Resource, found: Mapping[str, Any]) -> Iterator[str]:
    """Yields a line for each setting that differs."""
    if found.get("state") == "DELETED":
        yield "it was deleted, and is restored"
    if found.get("disabled"):
        yield "it is disabled, and is enabled"
    for name, wanted in resource.settings.items():
        before, after = found.get(name), overlay(found.get(name), wanted)
        if before != after:
            yield f"{name}: {_short(before)} -> {_short(after)}"


def _short(value: Any) -> str:
    return "(none)" if value is None else value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _ensure(rest: Rest, config: Config, resource: Resource) -> Step:
    found = _read(rest, resource)
    step = _compared(resource, found)
    if step.sign == NEVER:
        raise CloudRefused(f"Creating the {title(resource)}", "; ".join(step.details))
    if found is None:
        rest.wait(resource.kind.host, _create(rest, config, resource))
        return step
    if found.get("state") == "DELETED":
        # https://cloud.google.com/iam/docs/manage-workload-identity-pools-providers#undelete-pool
        rest.wait(resource.kind.host, rest.post(f"{resource.url}:undelete", {}))
    if found.get("disabled"):
        _enable_resource(rest, resource)
    changed = {
        name: overlay(found.get(name), wanted)
        for name, wanted in resource.settings.items()
        if overlay(found.get(name), wanted) != found.get(name)
    }
    if changed and resource.kind is BUCKET:
        # a bucket that was changed meanwhile answers 412
        rest.patch(resource.url, changed, ifMetagenerationMatch=found["metageneration"])
    elif changed:
        rest.wait(resource.kind.host, rest.patch(resource.url, changed, updateMask=",".join(changed)))
    return step


def _enable_resource(rest: Rest, resource: Resource) -> None:
    if resource.kind is ACCOUNT:
        rest.post(f"{resource.url}:enable", {})
    else:
        rest.wait(resource.kind.host, rest.patch(resource.url, {"disabled": False}, updateMask="disabled"))


def _create(rest: Rest, config: Config, resource: Resource) -> dict[str, Any]:
    parent, _, name = resource.url.rpartition("/")
    body = {**resource.fixed, **resource.settings}
    if resource.kind is BUCKET:
        return rest.post(parent, {"name": name, **body}, project=config.project)
    if resource.kind is ACCOUNT:
        short = name.partition("@")[0]
        return rest.post(parent, {"accountId": short, "serviceAccount": {"displayName": f"Spanloop: {short}"}})
    return rest.post(parent, body, **{resource.kind.id_parameter: name})


def add_version(rest: Rest, secret: Resource, data: bytes) -> bool:
    """Adds `data` as the newest version of a secret, unless it is that already; returns whether it was added."""
    with _refused(f"Adding a version to the {title(secret)}"):
        try:
            newest = base64.b64decode(rest.get(f"{secret.url}/versions/latest:access")["payload"]["data"])
        except NoAnswer as refused:
            if refused.status != 404:
                raise
            newest = None
        if newest == data:
            return False
        rest.post(f"{secret.url}:addVersion", {"payload": {"data": base64.b64encode(data).decode()}})
        return True


def has_version(rest: Rest, secret: Resource) -> bool:
    """True when a secret has a version that can be read."""
    with _refused(f"Reading the {title(secret)}"):
        try:
            return bool(rest.get(f"{secret.url}/versions", filter="state:ENABLED").get("versions"))
        except NoAnswer as refused:
            if refused.status == 404 or refused.disabled:
                return False
            raise


# Roles


def _by_place(table: Table) -> dict[Resource, list[Grant]]:
    places: dict[Resource, list[Grant]] = {}
    for grant in table.grants:
        places.setdefault(grant.on, []).append(grant)
    return places


def read_policy(rest: Rest, place: Resource) -> dict[str, Any]:
    """Returns the IAM policy of a resource, with bindings that have conditions. Raises NoAnswer.

    Version 3, or a policy that is written back has lost its conditions:
    https://cloud.google.com/iam/docs/policies#specifying-version-get
    """
    if place.kind is BUCKET:
        return rest.get(f"{place.url}/iam", optionsRequestedPolicyVersion="3")
    if place.kind is PROJECT:
        return rest.post(f"{place.url}:getIamPolicy", {"options": {"requestedPolicyVersion": 3}})
    how = {"options.requestedPolicyVersion": "3"}
    if place.kind.policy_verb == "POST":
        return rest.post(f"{place.url}:getIamPolicy", {}, **how)
    return rest.get(f"{place.url}:getIamPolicy", **how)


def _policy(rest: Rest, place: Resource) -> dict[str, Any]:
    """Returns the IAM policy of a resource, an empty one where it does not exist yet."""
    try:
        return read_policy(rest, place)
    except NoAnswer as refused:
        if refused.status == 404 or refused.disabled:
            return {}
        raise


def _is_granted(policy: Mapping[str, Any], grant: Grant) -> bool:
    return any(
        binding["role"] == grant.role and grant.member in binding.get("members", []) and not binding.get("condition")
        for binding in policy.get("bindings", [])
    )


def _grant_step(grant: Grant, granted: bool) -> Step:
    return Step(THERE if granted else CREATE, f"{grant.role} on {grant.on.short} for {grant.member}")


def _grant_steps(policy: Mapping[str, Any], grants: list[Grant]) -> list[Step]:
    revoked = [
        Step(CHANGE, f"{FEDERATED} on {grants[0].on.short} no longer for {member}")
        for member in _former(policy, grants)
    ]
    return [*(_grant_step(grant, _is_granted(policy, grant)) for grant in grants), *revoked]


def _former(policy: Mapping[str, Any], grants: list[Grant]) -> list[str]:
    """Returns the members of the workflows' pool who may sign in as an account, but in no grant: of earlier versions.

    Members of other pools stay: `doctor` names them.
    """
    wanted = {grant.member for grant in grants if grant.role == FEDERATED}
    pools = {member.partition("attribute.")[0].partition("://")[2] for member in wanted}
    return [
        member
        for binding in policy.get("bindings", [])
        for member in binding.get("members", [])
        if binding["role"] == FEDERATED and member not in wanted
        if any(member.partition("://")[2].startswith(pool) for pool in pools)
    ]


def _ensure_grants(rest: Rest, place: Resource, grants: list[Grant]) -> list[Step]:
    """Adds roles, and takes back former ones, in one change.

    Another change since the policy was read is refused by its etag, and read again.
    """
    policy = read_policy(rest, place)
    steps = _grant_steps(policy, grants)
    absent, former = [grant for grant in grants if not _is_granted(policy, grant)], _former(policy, grants)
    if absent or former:
        bindings = policy.setdefault("bindings", [])
        for binding in bindings:
            if binding["role"] == FEDERATED:
                binding["members"] = [member for member in binding["members"] if member not in former]
        bindings[:] = [binding for binding in bindings if binding["members"]]
        bindings += [{"role": grant.role, "members": [grant.member]} for grant in absent]
        if place.kind is BUCKET:
            rest.put(f"{place.url}/iam", policy)
        else:
            rest.post(f"{place.url}:setIamPolicy", {"policy": policy})
    return steps


# Calls


def _patiently(doing: str, step: Callable[[], T]) -> T:
    """Calls `step` until it succeeds or retry.SETUP gives up. Raises CloudRefused."""
    with _refused(doing):
        for attempt in retry.attempts(retry.SETUP, NoAnswer, when=_may_pass):
            with attempt:
                return step()
    raise AssertionError("attempts do not end")


def _may_pass(refused: NoAnswer) -> bool:
    """True for conflicts with another process, and for what Google has not yet made known everywhere.

    A new account and an API that was just enabled take up to some minutes:
    https://cloud.google.com/iam/docs/service-accounts-create (eventually consistent),
    https://cloud.google.com/service-usage/docs/enable-disable
    """
    unknown = refused.status == 404 or (refused.status == 400 and "does not exist" in str(refused))
    changed = refused.status == 412 and "pre-condition" in str(refused)
    return bool(unknown or changed or refused.disabled or refused.status in retry.SETUP.statuses)


@contextlib.contextmanager
def _refused(doing: str) -> Iterator[None]:
    """Converts NoAnswer to CloudRefused."""
    try:
        yield
    except NoAnswer as error:
        owner = ". It takes the role Owner of the project (docs/google-cloud.md)" if error.status == 403 else ""
        raise error.explained or CloudRefused(doing, f"{error}{owner}") from error
