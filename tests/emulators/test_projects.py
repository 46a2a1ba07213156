"""The project and its IAM policy, read by Google's own client and by plain REST."""

import google.auth
import google.auth.transport.requests
import pytest
import requests
from google.api_core.exceptions import PermissionDenied
from google.cloud import resourcemanager_v3

PERMISSIONS = ["aiplatform.pipelineJobs.create", "resourcemanager.projects.delete"]
URL = "https://cloudresourcemanager.googleapis.com/v3/projects"


@pytest.fixture
def client(cloud_environment):
    return resourcemanager_v3.ProjectsClient()


@pytest.fixture
def session(cloud_environment):
    credentials, _ = google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])
    return google.auth.transport.requests.AuthorizedSession(credentials)


def test_grpc_and_rest_return_the_same_project(client, session, cloud):
    found = client.get_project(name=f"projects/{cloud.project}")
    response = session.get(f"{URL}/{cloud.project}").json()

    assert (
        (found.name, found.state.name) == (response["name"], response["state"]) == ("projects/123456789012", "ACTIVE")
    )
    assert found.project_id == response["projectId"] == cloud.project


def test_permissions_follow_from_the_roles(client, session, cloud):
    request = {"resource": f"projects/{cloud.project}", "permissions": PERMISSIONS}
    assert list(client.test_iam_permissions(request).permissions) == PERMISSIONS[:1]

    cloud.policies.clear()
    response = session.post(f"{URL}/{cloud.project}:testIamPermissions", json={"permissions": PERMISSIONS})
    assert response.status_code == 200 and not response.json().get("permissions")
    with pytest.raises(PermissionDenied, match="resourcemanager.projects.get"):
        client.get_project(name=f"projects/{cloud.project}")


def test_another_project_and_unknown_fields_are_refused(client, session, cloud):
    with pytest.raises(PermissionDenied, match="or it may not exist"):
        client.get_project(name="projects/another-project")
    response = session.post(f"{URL}/{cloud.project}:testIamPermissions", json={"permission": PERMISSIONS})
    assert response.status_code == 400 and response.json()["error"]["status"] == "INVALID_ARGUMENT"
    assert requests.get(f"{URL}/{cloud.project}", timeout=60).status_code == 401


def test_granting_an_unknown_role_is_an_error(cloud):
    with pytest.raises(ValueError, match="policies.py"):
        cloud.policies.grant(f"projects/{cloud.project}", "roles/aiplatfrom.user", "a@b.c")
