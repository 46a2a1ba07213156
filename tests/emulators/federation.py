"""Workload Identity Federation: which token of an issuer becomes which identity, and what that may act as.

Conditions and mappings are CEL; of it only the forms below are known, any other one is refused as if it were wrong:
`assertion.NAME == 'TEXT'` joined by `&&`, and for mappings `assertion.NAME`, 'TEXT', sums of these, and
`has(assertion.NAME) ? ONE : OTHER`. https://cloud.google.com/iam/docs/workload-identity-federation#mapping
"""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from grpc import StatusCode

from tests.emulators.services import Refused

if TYPE_CHECKING:
    from tests.emulators.cloud import Cloud

LONGEST_SUBJECT = 127  # bytes: https://cloud.google.com/iam/docs/workload-identity-federation#mapping
Claims = Mapping[str, Any]


class NotExchanged(Exception):
    """The Security Token Service refuses a token; `error` is that of RFC 6749."""

    def __init__(self, error: str, description: str):
        super().__init__(description)
        self.error = error


class Identity(NamedTuple):
    """A federated identity, and the sets that it belongs to, as policies name them."""

    principal: str
    sets: frozenset[str]


def identity(cloud: "Cloud", audience: str, claims: Claims) -> Identity:
    """The identity of a token with these claims for a provider. Raises NotExchanged, and Refused without the API."""
    demand_enabled(cloud, "sts.googleapis.com")
    name = audience.removeprefix("//iam.googleapis.com/")
    found = _provider(cloud, name)
    if claims["iss"] != found["oidc"]["issuerUri"]:
        text = f"The issuer in ID Token {claims['iss']} does not match the expected ones: {found['oidc']['issuerUri']}"
        raise NotExchanged("invalid_grant", text)
    if claims["aud"] not in (f"https://iam.googleapis.com/{name}", audience):
        raise NotExchanged("invalid_grant", "The audience in ID Token does not match the expected audience.")
    attributes = {key: mapped(value, claims) for key, value in found["attributeMapping"].items()}
    if len(attributes["google.subject"].encode()) > LONGEST_SUBJECT:
        # https://github.com/google-github-actions/auth/blob/main/docs/TROUBLESHOOTING.md#subject-exceeds-the-127-byte-limit
        text = (
            "The size of mapped attribute google.subject exceeds the 127 bytes limit. Either modify your attribute"
            " mapping or the incoming assertion to produce a mapped attribute that is less than 127 bytes."
        )
        raise NotExchanged("invalid_request", text)
    if not holds(found.get("attributeCondition", ""), claims):
        # https://github.com/terraform-google-modules/terraform-example-foundation/issues/1362
        raise NotExchanged("unauthorized_client", "The given credential is rejected by the attribute condition.")
    pool = f"iam.googleapis.com/{name.partition('/providers/')[0]}"
    sets = {f"principalSet://{pool}/{key}/{value}" for key, value in attributes.items() if key.startswith("attribute.")}
    return Identity(
        f"principal://{pool}/subject/{attributes['google.subject']}", frozenset({*sets, f"principalSet://{pool}/*"})
    )


def demand_enabled(cloud: "Cloud", api: str) -> None:
    """Raises Refused while the project has not enabled an API that is called without a service account's token."""
    if api in cloud.apis.disabled:
        message = f"{api} has not been used in this project before or it is disabled. Enable it, then retry."
        raise Refused(StatusCode.PERMISSION_DENIED, message)


def _provider(cloud: "Cloud", name: str) -> dict[str, Any]:
    """The provider of this name; pools are kept by the project's ID, and audiences have its number."""
    kept = name.replace(f"projects/{cloud.project_number}/", f"projects/{cloud.project}/", 1)
    pool, provider = (cloud.pools.found.get(each, {}) for each in (kept.partition("/providers/")[0], kept))
    if any(each.get("state") != "ACTIVE" or each.get("disabled") for each in (pool, provider)):
        # https://github.com/google-github-actions/auth/issues/202
        text = (
            'The target service indicated by the "audience" parameters is invalid. This might either be because the'
            " pool or provider is disabled or deleted or because it doesn't exist."
        )
        raise NotExchanged("invalid_target", text)
    return provider


def holds(condition: str, claims: Claims) -> bool:
    """Whether a condition is true of claims; a claim that is missing makes it false. Raises NotExchanged."""
    for part in condition.split("&&") if condition else ():
        match = re.fullmatch(r"\s*assertion\.(\w+) == '([^'\\]*)'\s*", part)
        if not match:
            raise NotExchanged("invalid_request", f"The attribute condition is not understood here: {part!r}")
        if match[1] not in claims or str(claims[match[1]]) != match[2]:
            return False
    return True


def mapped(expression: str, claims: Claims) -> str:
    """The value of a mapping. Raises NotExchanged."""
    if match := re.fullmatch(r"has\(assertion\.(\w+)\) \? (.+) : (.+)", expression):
        return mapped(match[2] if match[1] in claims else match[3], claims)
    if " + " in expression:
        return "".join(mapped(part, claims) for part in expression.split(" + "))
    if match := re.fullmatch(r"'([^'\\]*)'", expression):
        return match[1]
    match = re.fullmatch(r"assertion\.(\w+)", expression)
    if not match or match[1] not in claims:
        raise NotExchanged("invalid_grant", f"The attribute mapping {expression!r} has no value for this token.")
    return str(claims[match[1]])
