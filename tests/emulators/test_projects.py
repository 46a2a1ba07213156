"""The project and who may do what in it, as Google's own client and plain REST meet them."""

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


def test_both_ways_tell_the_same_of_the_project(client, session, cloud):
    found = client.get_project(name=f"projects/{cloud.project}")
    told = session.get(f"{URL}/{cloud.project}").json()

    assert (found.name, found.state.name) == (told["name"], told["state"]) == ("projects/123456789012", "ACTIVE")
    assert found.project_id == told["projectId"] == cloud.project


def test_permissions_follow_from_the_roles(client, session, cloud):
    asked = {"resource": f"projects/{cloud.project}", "permissions": PERMISSIONS}
    assert list(client.test_iam_permissions(asked).permissions) == PERMISSIONS[:1]

    cloud.policies.clear()
    told = session.post(f"{URL}/{cloud.project}:testIamPermissions", json={"permissions": PERMISSIONS})
    assert told.status_code == 200 and not told.json().get("permissions")
    with pytest.raises(PermissionDenied, match="resourcemanager.projects.get"):
        client.get_project(name=f"projects/{cloud.project}")


def test_what_is_not_ours_or_not_in_the_request_s_type_is_refused(client, session, cloud):
    with pytest.raises(PermissionDenied, match="or it may not exist"):
        client.get_project(name="projects/somebody-elses")
    told = session.post(f"{URL}/{cloud.project}:testIamPermissions", json={"permission": PERMISSIONS})
    assert told.status_code == 400 and told.json()["error"]["status"] == "INVALID_ARGUMENT"
    assert requests.get(f"{URL}/{cloud.project}", timeout=10).status_code == 401


def test_roles_that_are_not_known_here_are_not_granted_by_mistake(cloud):
    with pytest.raises(ValueError, match="policies.py"):
        cloud.policies.grant(f"projects/{cloud.project}", "roles/aiplatfrom.user", "a@b.c")
