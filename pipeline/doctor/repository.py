"""Checks of the GitHub repository: who may change the default branch, and what the release token may do, until when."""

import datetime
from collections.abc import Mapping
from typing import Any

from pipeline.cloud import secrets
from pipeline.doctor.check import Context, Missing
from pipeline.errors import GitHubRefused, SecretUnreadable
from pipeline.github import client
from pipeline.setup import resources

RULESET = ".github/rulesets/default-branch.json"
NEEDED = ("pull_request", "non_fast_forward", "deletion")
EARLY = datetime.timedelta(days=14)  # before the end of a token
NO_TOKEN = "no release token: models are not released on GitHub"


def branch_rules(context: Context) -> str:
    """Checks the rules of the default branch, whose code may act on Google Cloud.

    https://docs.github.com/en/rest/repos/rules#get-rules-for-a-branch
    """
    kind, _, name = context.config.releases.partition(":")
    if kind != "github":
        return NO_TOKEN
    repository = client.repository(name, context.config.github_token)
    with client.github_errors(f"Reading the rules of {name}"):
        branch = repository.default_branch
        address = f"{repository.url}/rules/branches/{branch}"
        _, rules = repository.requester.requestJsonAndCheck("GET", address, {"per_page": 100})
    held = {rule.get("type") for rule in rules}
    if absent := [rule for rule in NEEDED if rule not in held]:
        raise Missing(
            f"the release token may push to {branch} of {name}, because no active ruleset has {', '.join(absent)}",
            f"gh api --method POST repos/{name}/rulesets --input {RULESET}",
        )
    return f"{branch} of {name} changes by pull requests alone"


def release_token(context: Context) -> str:
    """Checks the token in Secret Manager where the caller may read it, without showing it."""
    kind, _, name = context.config.releases.partition(":")
    secret = context.config.release_token_secret
    if kind != "github" or not secret:
        return NO_TOKEN
    try:
        token = secrets.read(secret)
    except SecretUnreadable:
        return "not checked: you may not read it, which only pipelines have to"
    replace = f"gcloud secrets versions add {resources.secret(secret).gcloud} --data-file=-"
    try:
        headers, about = read_token(name, token)
    except GitHubRefused as refused:
        if refused.status == 401:
            raise Missing("GitHub does not accept the token, which has expired or was revoked", replace) from None
        raise
    wrong, end = token_problems(headers, about, datetime.datetime.now(datetime.timezone.utc))
    if wrong:
        raise Missing(f"the token {'; it '.join(wrong)}: make a fine-grained one as docs/google-cloud.md says", replace)
    return f"valid until {end}, of an account that is no administrator of {name}"


def read_token(name: str, token: str) -> tuple[Mapping[str, str], Mapping[str, Any]]:
    """Returns what GitHub says about a token: headers, in lower case, and the repository as the token sees it."""
    repository = client.repository(name, token)
    with client.github_errors(f"Reading {name} with the release token"):
        return repository.requester.requestJsonAndCheck("GET", repository.url)


def token_problems(
    headers: Mapping[str, str], about: Mapping[str, Any], now: datetime.datetime
) -> tuple[list[str], str]:
    """Returns what is wrong with a token, and the day of its end.

    GitHub does not say which permissions a fine-grained token has. A classic one has scopes, which count for every
    repository of its account: https://docs.github.com/en/apps/oauth-apps/building-oauth-apps/scopes-for-oauth-apps.
    """
    wrong = []
    if "x-oauth-scopes" in headers:
        wrong.append(f"is a classic one with the scopes {headers['x-oauth-scopes'] or 'none'}, in all repositories")
    if about.get("permissions", {}).get("admin"):
        wrong.append("belongs to an administrator, who may pass the rules of the default branch")
    end = expiration(headers.get("github-authentication-token-expiration", ""))
    if not end:
        wrong.append("does not expire")
    elif end - now < EARLY:
        wrong.append(f"expires on {end:%Y-%m-%d}, after which no model is released")
    return wrong, f"{end:%Y-%m-%d}" if end else ""


def expiration(header: str) -> datetime.datetime | None:
    """Returns the end of a token, None where GitHub names none that can be read.

    GitHub writes "2026-12-01 08:00:00 UTC" or "2026-12-01 08:00:00 -0500":
    https://github.com/google/go-github/blob/master/github/github.go, parseTokenExpiration.
    """
    try:
        return datetime.datetime.strptime(header.replace("UTC", "+0000"), "%Y-%m-%d %H:%M:%S %z")
    except ValueError:
        return None
