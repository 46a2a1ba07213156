"""A project in which there is nothing yet, seen by its owner."""

import dataclasses

import pytest
from google.oauth2 import service_account

from pipeline.cloud.rest import SCOPES, Rest
from pipeline.config import Config
from pipeline.setup import apply, resources
from pipeline.setup.resources import Repository, Table
from tests.emulators.cloud import Cloud
from tests.gcloud import new_project

REPOSITORY = Repository("acme/widget", 4711, 42, "main")


@dataclasses.dataclass
class Project:
    """The project, its owner's calls, and the table of what it has to have."""

    cloud: Cloud
    rest: Rest
    config: Config
    table: Table

    def plan(self) -> list[str]:
        """What `setup --dry-run` shows, without what is there already."""
        steps = apply.plan(self.rest, self.config, self.table)
        return [f"{step.sign} {step.what}" for step in steps if step.sign != apply.THERE]

    def apply(self, **how: object) -> list[str]:
        """What `setup` creates or changes."""
        steps = apply.apply(self.rest, self.config, self.table, **how)
        return [f"{step.sign} {step.what}" for step in steps if step.sign != apply.THERE]


def of(cloud: Cloud, **differing: object) -> Project:
    """Returns a new project in which everything that can be set up is wanted."""
    owner = new_project(cloud)
    key = f"projects/{cloud.project}/locations/{cloud.region}/keyRings/spanloop/cryptoKeys/device-models"
    settings = {
        "workspace": f"gs://{cloud.bucket}/spanloop",
        "project": cloud.project,
        "region": cloud.region,
        "device_channel": "gs://models-of-a-test",
        "device_signing_key": f"{key}/cryptoKeyVersions/1",
        "dataflow_workers": 2,
    }
    config = resources.with_defaults(Config(**settings | differing), for_workflows=True)
    table = resources.table(
        config, cloud.project_number, REPOSITORY, ["user:you@example.com"], ["https://app.example.com"], public=True
    )
    credentials = service_account.Credentials.from_service_account_file(owner, scopes=SCOPES)
    return Project(cloud, Rest(credentials), config, table)


@pytest.fixture
def project(cloud_environment) -> Project:
    return of(cloud_environment)
