"""Who may act as the workflows' account where `setup` ran: jobs of one branch, repository and environment."""

import google.auth.transport.requests
import pytest
from google.auth import identity_pool
from google.auth.exceptions import OAuthError, RefreshError

from pipeline.setup import resources
from tests.emulators.cloud import Cloud
from tests.emulators.federation import NotExchanged, holds, mapped
from tests.emulators.github.actions import ISSUER
from tests.pipeline.setup.conftest import REPOSITORY, Project, of

PROVIDER = f"projects/{Cloud.project_number}/locations/global/workloadIdentityPools/github/providers/github"
CLAIMS = {
    "repository_id": f"{REPOSITORY.number}",
    "repository_owner_id": f"{REPOSITORY.owner}",
    "ref": f"refs/heads/{REPOSITORY.branch}",
    "run_id": "77",
    "environment": "evaluation",
}


@pytest.fixture
def project(cloud_environment) -> Project:
    made = of(cloud_environment)
    made.apply()
    return made


@pytest.fixture
def sign_in(project, tmp_path):
    """Signs in with the claims of a job, and returns the account that it acts as; None takes a claim away."""

    def get(
        issuer: str = ISSUER, audience: str = f"https://iam.googleapis.com/{PROVIDER}", **claims: str | None
    ) -> str:
        wanted = {name: value for name, value in {**CLAIMS, **claims}.items() if value is not None}
        (tmp_path / "token").write_text(project.cloud.oauth.identity(issuer, "repo:acme/widget", audience, **wanted))
        account = resources.workflows_account(project.config)
        credentials = identity_pool.Credentials(
            audience=f"//iam.googleapis.com/{PROVIDER}",
            subject_token_type="urn:ietf:params:oauth:token-type:jwt",
            token_url="https://sts.googleapis.com/v1/token",
            credential_source={"file": str(tmp_path / "token")},
            service_account_impersonation_url="https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/"
            f"{account}:generateAccessToken",
            scopes=["https://www.googleapis.com/auth/cloud-platform"],
        )
        credentials.refresh(google.auth.transport.requests.Request())
        return project.cloud.oauth.token_of(f"Bearer {credentials.token}").principal

    return get


@pytest.mark.parametrize("environment", resources.ENVIRONMENTS)
def test_a_job_of_each_environment_of_the_workflows_acts_as_their_account(sign_in, project, environment):
    assert sign_in(environment=environment) == resources.workflows_account(project.config)


@pytest.mark.parametrize(
    "claims",
    [
        {"ref": "refs/heads/another"},
        {"ref": "refs/pull/7/merge"},
        {"repository_id": "4712"},
        {"repository_owner_id": "43"},
        {"ref": None},
    ],
)
def test_a_job_of_another_branch_or_repository_gets_no_token(sign_in, claims):
    with pytest.raises(OAuthError, match="unauthorized_client.*rejected by the attribute condition"):
        sign_in(**claims)


@pytest.mark.parametrize("environment", ["production", "none", "", None])
def test_a_job_of_another_environment_or_of_none_may_not_act_as_the_account(sign_in, environment):
    with pytest.raises(RefreshError, match="iam.serviceAccounts.getAccessToken"):
        sign_in(environment=environment)


def test_tokens_of_another_issuer_for_another_audience_or_with_a_long_subject_are_refused(sign_in, project):
    project.cloud.oauth.identity("https://gitlab.example", "subject", "audience")
    with pytest.raises(OAuthError, match="does not match the expected ones"):
        sign_in(issuer="https://gitlab.example")
    with pytest.raises(OAuthError, match="audience in ID Token"):
        sign_in(audience="https://github.com/acme")
    with pytest.raises(OAuthError, match="google.subject exceeds the 127 bytes limit"):
        sign_in(run_id="7" * 127)


def test_a_forged_token_is_refused(sign_in, project, monkeypatch):
    signed = project.cloud.oauth.identity
    monkeypatch.setattr(
        project.cloud.oauth, "identity", lambda *given, **claims: f"{signed(*given, **claims)[:-9]}forgedfor"
    )
    with pytest.raises(OAuthError, match="ID Token"):
        sign_in()


def test_a_deleted_pool_and_apis_that_are_not_enabled_are_refused(sign_in, project):
    for api in ("sts.googleapis.com", "iamcredentials.googleapis.com"):
        project.cloud.apis.disabled.add(api)
        with pytest.raises((OAuthError, RefreshError), match=f"{api} has not been used"):
            sign_in()
        project.cloud.apis.disabled.clear()
    project.cloud.pools.delete("github")
    with pytest.raises(OAuthError, match="invalid_target"):
        sign_in()


def test_only_the_known_forms_of_the_language_are_evaluated():
    assert holds("assertion.a == '1' && assertion.b == 'x'", {"a": 1, "b": "x"}) and holds("", {})
    assert not holds("assertion.a == '1'", {})
    for condition in (
        "assertion.a == '1' || true",
        "!(assertion.a == '1')",
        "attribute.a == '1'",
        "assertion.a != '1'",
    ):
        with pytest.raises(NotExchanged, match="not understood"):
            holds(condition, {"a": "1"})
    assert mapped("assertion.a + ':' + assertion.b", {"a": "1", "b": "2"}) == "1:2"
    with pytest.raises(NotExchanged, match="has no value"):
        mapped("assertion.sub.split('/')", {"sub": "x"})
