"""The table of resources on Google Cloud: `setup` creates them, `doctor` checks them, infra/main.tf.json has the same.

To add one: a Resource or a Grant below, the same in infra/main.tf.json, and, for a new kind of resource, a Kind.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from pipeline.config import Config, is_kms_key
from pipeline.errors import ConfigError

STORAGE = "https://storage.googleapis.com/storage/v1"
IAM = "https://iam.googleapis.com/v1"
ARTIFACT_REGISTRY = "https://artifactregistry.googleapis.com/v1"
KMS = "https://cloudkms.googleapis.com/v1"
SECRET_MANAGER = "https://secretmanager.googleapis.com/v1"
RESOURCE_MANAGER = "https://cloudresourcemanager.googleapis.com/v3"


class Kind(NamedTuple):
    """How resources of one kind are addressed and changed over REST, and what gcloud calls them."""

    label: str  # for people
    host: str  # address before a resource's name
    gcloud: str  # its group of commands, such as "storage buckets"
    id_parameter: str = ""  # of the method that creates one
    policy_verb: str = "GET"  # by which its IAM policy is read
    changes: bool = False  # whether PATCH changes its settings


PROJECT = Kind("project", RESOURCE_MANAGER, "projects", policy_verb="POST")
BUCKET = Kind("bucket", STORAGE, "storage buckets", changes=True)
IMAGES = Kind("image repository", ARTIFACT_REGISTRY, "artifacts repositories", "repositoryId")
ACCOUNT = Kind("service account", IAM, "iam service-accounts", policy_verb="POST")
POOL = Kind("identity pool", IAM, "iam workload-identity-pools", "workloadIdentityPoolId")
PROVIDER = Kind(
    "identity provider", IAM, "iam workload-identity-pools providers", "workloadIdentityPoolProviderId", changes=True
)
SECRET = Kind("secret", SECRET_MANAGER, "secrets", "secretId")
RING = Kind("key ring", KMS, "kms keyrings", "keyRingId")
KEY = Kind("key", KMS, "kms keys", "cryptoKeyId")


@dataclasses.dataclass(frozen=True)
class Resource:
    """A resource, by its name in its service's API; `fixed` and `settings` are fields of that API."""

    kind: Kind
    name: str  # such as projects/P/secrets/NAME or b/BUCKET
    fixed: Mapping[str, Any] = dataclasses.field(default_factory=dict, compare=False)  # cannot be changed later
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict, compare=False)

    @property
    def url(self) -> str:
        """Returns the address of the resource in its service's API."""
        return f"{self.kind.host}/{self.name}"

    @property
    def short(self) -> str:
        """Returns the name as people write it: gs://BUCKET, EMAIL, NAME."""
        last = self.name.rpartition("/")[2]
        return f"gs://{last}" if self.kind is BUCKET else last

    @property
    def gcloud(self) -> str:
        """Returns the name with the options by which gcloud finds the resource."""
        parts = self.name.split("/")
        options = {"keyRings": "keyring", "locations": "location", "projects": "project"}
        if self.kind in (BUCKET, ACCOUNT, PROJECT):
            return self.short
        named = dict(zip(parts[:-2:2], parts[1:-2:2], strict=True))
        return " ".join([self.short, *(f"--{options[part]}={named[part]}" for part in options if part in named)])


@dataclasses.dataclass(frozen=True)
class Grant:
    """A role of a member, such as serviceAccount:EMAIL, on one resource."""

    on: Resource
    role: str
    member: str


@dataclasses.dataclass(frozen=True)
class Repository:
    """A repository on GitHub. Its numbers stay when it is renamed, and are not those of one that takes its name."""

    name: str  # owner/name
    number: int
    owner: int
    branch: str  # the default branch


@dataclasses.dataclass(frozen=True)
class Table:
    """What a project has to have: APIs, resources in the order in which they are created, and roles."""

    apis: tuple[str, ...]  # host names
    resources: tuple[Resource, ...]
    grants: tuple[Grant, ...]


# The table


def table(
    config: Config,
    project_number: str = "",
    repository: Repository | None = None,
    members: Iterable[str] = (),
    origins: Iterable[str] = (),
    public: bool = False,
) -> Table:
    """Returns the table for settings in which everything has a name: see `with_defaults`. Raises ConfigError.

    The workflows of `repository` get an account and sign in without a key, for which the project's number is needed;
    `members` may do what workflows do. `origins` are those of the pages that read the devices' bucket; with `public`
    everybody may read it.
    """
    resources = [
        bucket(config, config.workspace, settings={"lifecycle": {"rule": LIFECYCLE}, **PRIVATE}),
        images(config),
        account(config, config.service_account),
        account(config, config.build_service_account),
    ]
    grants = [*pipelines_grants(config), *builds_grants(config)]
    members = list(members)
    if repository:
        workflows = workflows_account(config)
        resources += [account(config, workflows), pool(config), provider(config, repository)]
        grants += [
            Grant(account(config, workflows), FEDERATED, identities(project_number, environment))
            for environment in ENVIRONMENTS
        ]
        members.append(f"serviceAccount:{workflows}")
    if config.release_token_secret:
        resources.append(secret(config.release_token_secret))
    if config.device_channel.startswith("gs://"):
        cors = [{"origin": [*origins], "method": ["GET"], "responseHeader": ["Content-Type"], "maxAgeSeconds": 3600}]
        resources.append(bucket(config, config.device_channel, {"cors": cors} if cors[0]["origin"] else {}))
        if public:
            grants.append(Grant(bucket(config, config.device_channel), "roles/storage.objectViewer", "allUsers"))
    if is_kms_key(config.device_signing_key):
        resources += [ring(config.device_signing_key), key(config.device_signing_key)]
    for member in members:
        grants += workflows_grants(config, member)
    return Table(apis(config), _distinct(resources), tuple(dict.fromkeys(grants)))


def _distinct(resources: list[Resource]) -> tuple[Resource, ...]:
    """Returns each resource once, as it is first named: models for devices may be in the workspace's bucket."""
    found: dict[Resource, Resource] = {}
    for resource in resources:
        found.setdefault(resource, resource)
    return tuple(found.values())


def apis(config: Config) -> tuple[str, ...]:
    """Returns the APIs that have to be enabled."""
    more = {
        "dataflow": config.dataflow_workers,
        "compute": config.dataflow_workers,  # whose machines Dataflow's workers are
        "cloudkms": is_kms_key(config.device_signing_key),
        "firebaseml": config.firebase_model,
    }
    return tuple(f"{api}.googleapis.com" for api in (*APIS, *(api for api, used in more.items() if used)))


APIS = (
    "aiplatform",
    "artifactregistry",
    "cloudbuild",
    "cloudresourcemanager",
    "iam",
    "iamcredentials",
    "secretmanager",
    "serviceusage",
    "storage",
    "sts",  # workflows sign in
)


def pipelines_grants(config: Config) -> list[Grant]:
    """Returns the roles of the pipelines' account."""
    member, workspace = f"serviceAccount:{config.service_account}", bucket(config, config.workspace)
    own = account(config, config.service_account)
    grants = [
        Grant(project(config), "roles/aiplatform.user", member),
        Grant(project(config), "roles/logging.logWriter", member),
        Grant(workspace, "roles/storage.objectUser", member),
        Grant(workspace, "roles/storage.legacyBucketReader", member),
        Grant(own, "roles/iam.serviceAccountUser", member),  # it starts pipelines that run as itself
    ]
    if config.dataflow_workers:
        grants += [
            Grant(project(config), "roles/dataflow.developer", member),
            Grant(project(config), "roles/dataflow.worker", member),
            Grant(images(config), "roles/artifactregistry.reader", member),  # workers run as it and pull the image
        ]
    if config.firebase_model:
        grants += [
            Grant(project(config), "roles/firebaseml.admin", member),
            Grant(own, "roles/iam.serviceAccountTokenCreator", member),  # it signs the model's address
        ]
    if config.release_token_secret:
        grants.append(Grant(secret(config.release_token_secret), "roles/secretmanager.secretAccessor", member))
    return grants + _publishing(config, member)


def builds_grants(config: Config) -> list[Grant]:
    """Returns the roles of the builds' account: it reads its source and pushes one image."""
    member = f"serviceAccount:{config.build_service_account}"
    return [
        Grant(project(config), "roles/logging.logWriter", member),
        Grant(bucket(config, config.workspace), "roles/storage.objectViewer", member),
        Grant(images(config), "roles/artifactregistry.writer", member),
    ]


def workflows_grants(config: Config, member: str) -> list[Grant]:
    """Returns the roles of those who submit, build, evaluate and promote: workflows, and people without more rights."""
    workspace = bucket(config, config.workspace)
    return [
        Grant(project(config), "roles/aiplatform.user", member),
        Grant(project(config), "roles/cloudbuild.builds.editor", member),
        Grant(workspace, "roles/storage.objectUser", member),
        Grant(workspace, "roles/storage.legacyBucketReader", member),
        Grant(images(config), "roles/artifactregistry.reader", member),
        Grant(account(config, config.service_account), "roles/iam.serviceAccountUser", member),
        Grant(account(config, config.build_service_account), "roles/iam.serviceAccountUser", member),
        *(Grant(project(config), role, member) for role in READING),
        *_publishing(config, member),
    ]


# What `doctor` reads; they change nothing.
READING = (
    "roles/browser",
    "roles/iam.securityReviewer",
    "roles/iam.workloadIdentityPoolViewer",
    "roles/serviceusage.serviceUsageViewer",
)


def _publishing(config: Config, member: str) -> list[Grant]:
    """Returns the roles of those who publish models for devices."""
    grants = []
    if config.device_channel.startswith("gs://"):
        grants.append(Grant(bucket(config, config.device_channel), "roles/storage.objectUser", member))
    if is_kms_key(config.device_signing_key):
        grants.append(Grant(key(config.device_signing_key), "roles/cloudkms.signerVerifier", member))
    return grants


# Its parts


def project(config: Config) -> Resource:
    """Returns the project, which exists already."""
    return Resource(PROJECT, f"projects/{config.project}")


def bucket(config: Config, address: str, settings: Mapping[str, Any] | None = None) -> Resource:
    """Returns the bucket of gs://BUCKET/PREFIX, without access lists on single objects."""
    name = address.removeprefix("gs://").partition("/")[0]
    uniform = {"iamConfiguration": {"uniformBucketLevelAccess": {"enabled": True}}}
    return Resource(BUCKET, f"b/{name}", {"location": config.region}, overlay(uniform, settings or {}))


PRIVATE = {"iamConfiguration": {"publicAccessPrevention": "enforced"}}
# Parts of uploads that were never completed cost as much as objects, and no listing shows them:
# https://cloud.google.com/storage/docs/lifecycle#abort-mpu
LIFECYCLE = [{"action": {"type": "AbortIncompleteMultipartUpload"}, "condition": {"age": 7}}]


def images(config: Config) -> Resource:
    """Returns the image repository of IMAGE_REPOSITORY. Raises ConfigError unless it is on Artifact Registry."""
    host, *parts = config.image_repository.split("/")
    place = host.removesuffix("-docker.pkg.dev")
    if place == host or len(parts) < 3:
        example = default_names(config.project, config.region or "REGION")["IMAGE_REPOSITORY"]
        raise ConfigError("IMAGE_REPOSITORY", config.image_repository, f"on Artifact Registry, such as {example}")
    name = f"projects/{parts[0]}/locations/{place}/repositories/{parts[1]}"
    return Resource(IMAGES, name, {"format": "DOCKER"})


def account(config: Config, email: str) -> Resource:
    """Returns a service account, mostly of the project itself."""
    domain = email.rpartition("@")[2]
    own = domain.removesuffix(".iam.gserviceaccount.com") if domain.endswith(".iam.gserviceaccount.com") else ""
    return Resource(ACCOUNT, f"projects/{own or config.project}/serviceAccounts/{email}")


def workflows_account(config: Config) -> str:
    """Returns the email of the workflows' account."""
    return f"github@{config.project}.iam.gserviceaccount.com"


def pool(config: Config) -> Resource:
    """Returns the pool of the identities that workflows have."""
    return Resource(POOL, f"projects/{config.project}/locations/global/workloadIdentityPools/github")


def provider(config: Config, repository: Repository) -> Resource:
    """Returns what accepts tokens of GitHub: those of jobs on the default branch of one repository.

    By numbers: a name can be taken by others once the repository was renamed or deleted.
    https://github.com/google-github-actions/auth/blob/main/docs/SECURITY_CONSIDERATIONS.md
    """
    condition = [
        f"assertion.repository_id == '{repository.number}'",
        f"assertion.repository_owner_id == '{repository.owner}'",
        f"assertion.ref == 'refs/heads/{repository.branch}'",
    ]
    settings = {
        "attributeMapping": MAPPING,
        "attributeCondition": " && ".join(condition),
        "oidc": {"issuerUri": "https://token.actions.githubusercontent.com"},
    }
    return Resource(PROVIDER, f"{pool(config).name}/providers/github", settings=settings)


MAPPING = {
    # not assertion.sub, which the names of a repository and an environment can make longer than the 127 bytes allowed
    "google.subject": "assertion.repository_id + ':' + assertion.run_id",
    # a job without an environment has no such claim, and no role is granted to `none`
    "attribute.environment": "has(assertion.environment) ? assertion.environment : 'none'",
}
# The environments of the jobs that sign in.
ENVIRONMENTS = ("vertex-ai", "endpoint", "collected-data", "evaluation", "retraining")
FEDERATED = "roles/iam.workloadIdentityUser"


def identities(project_number: str, environment: str) -> str:
    """Returns the member that all jobs in an environment are."""
    name = f"projects/{project_number}/locations/global/workloadIdentityPools/github"
    return f"principalSet://iam.googleapis.com/{name}/attribute.environment/{environment}"


def signs_in(member: str) -> bool:
    """True for a member of FEDERATED that is the jobs of one of ENVIRONMENTS."""
    return member.rpartition("/attribute.environment/")[2] in ENVIRONMENTS


def secret(version: str) -> Resource:
    """Returns the secret of projects/PROJECT/secrets/NAME/versions/VERSION."""
    return Resource(SECRET, version.partition("/versions/")[0], {"replication": {"automatic": {}}})


def ring(version: str) -> Resource:
    """Returns the key ring of projects/PROJECT/locations/REGION/keyRings/RING/cryptoKeys/KEY/cryptoKeyVersions/N."""
    return Resource(RING, version.partition("/cryptoKeys/")[0])


def key(version: str) -> Resource:
    """Returns the key of that name, which signs for devices."""
    algorithm = {"versionTemplate": {"algorithm": "EC_SIGN_ED25519"}}
    return Resource(KEY, version.partition("/cryptoKeyVersions/")[0], {"purpose": "ASYMMETRIC_SIGN", **algorithm})


# Names


def check(config: Config, public: bool) -> None:
    """Raises ConfigError for settings that name what `setup` does not create."""
    for variable, email in (
        ("PIPELINE_SERVICE_ACCOUNT", config.service_account),
        ("BUILD_SERVICE_ACCOUNT", config.build_service_account),
    ):
        if not email.endswith(f"@{config.project}.iam.gserviceaccount.com"):
            raise ConfigError(variable, email, f"an account of the project {config.project}")
    if f"projects/{config.project}/" not in images(config).name:
        raise ConfigError("IMAGE_REPOSITORY", config.image_repository, f"in the project {config.project}")
    if public and not config.device_channel.startswith("gs://"):
        raise ConfigError("DEVICE_CHANNEL", config.device_channel, "gs://bucket with --public")
    if public and bucket(config, config.device_channel) == bucket(config, config.workspace):
        expected = "another bucket than that of WORKSPACE, which holds images, with --public"
        raise ConfigError("DEVICE_CHANNEL", config.device_channel, expected)


def with_defaults(config: Config, for_workflows: bool = False) -> Config:
    """Returns the settings with names for accounts, image repository and secret that have none."""
    names = default_names(config.project, config.region)
    if not for_workflows and not config.releases.startswith("github:"):
        del names["RELEASE_TOKEN_SECRET"]  # releases lie in the bucket
    fields = {field.metadata["variable"]: field.name for field in dataclasses.fields(Config)}
    unset = {fields[variable]: name for variable, name in names.items() if not getattr(config, fields[variable])}
    return dataclasses.replace(config, **unset)


def default_names(project: str, region: str) -> dict[str, str]:
    """Returns the settings that follow from a project and its region, where they are not set."""
    accounts = f"{project}.iam.gserviceaccount.com"
    return {
        "PIPELINE_SERVICE_ACCOUNT": f"pipelines@{accounts}",
        "BUILD_SERVICE_ACCOUNT": f"builds@{accounts}",
        "IMAGE_REPOSITORY": f"{region}-docker.pkg.dev/{project}/spanloop/pipelines",
        "RELEASE_TOKEN_SECRET": f"projects/{project}/secrets/github-token/versions/latest",
    }


def overlay(found: Any, wanted: Any) -> Any:
    """Returns `found` with everything in it that `wanted` says; what `wanted` does not name stays.

    Lists get those of the wanted elements that they lack.
    """
    if isinstance(found, Mapping) and isinstance(wanted, Mapping):
        return {**found, **{name: overlay(found.get(name), value) for name, value in wanted.items()}}
    if isinstance(found, list) and isinstance(wanted, list):
        return [*found, *(each for each in wanted if each not in found)]
    return wanted
