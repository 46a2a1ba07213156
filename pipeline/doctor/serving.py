"""Checks of Vertex AI, by its own client, of the endpoint, of the channels for devices and of the secret."""

import datetime

from pipeline import google_errors
from pipeline.cloud import automl_prices, secrets
from pipeline.cloud import machines as machine_types
from pipeline.cloud.calls import without_support_warnings
from pipeline.cloud.vertex import client, location
from pipeline.config import is_kms_key
from pipeline.doctor.access import enable, exists, held_permissions, roles
from pipeline.doctor.check import Context, Missing, Unknown, grant, grant_command
from pipeline.errors import CloudRefused, SecretUnreadable, SigningKeyUnusable, UsageError
from pipeline.serving.device_manifest import parse_time
from pipeline.setup import resources
from pipeline.setup.resources import Grant


def vertex(context: Context) -> str:
    """Checks that Vertex AI answers: lists its pipelines over gRPC, as a run does."""
    context.needs("project", "region")
    with without_support_warnings():
        from google.api_core.exceptions import GoogleAPIError, PermissionDenied

    request = {"parent": location(context.config), "page_size": 1}
    try:
        client(context.config, "PipelineService").list_pipeline_jobs(request, timeout=20)
    except GoogleAPIError as refused:
        if found := google_errors.explain(refused):
            raise found from None
        fix = enable(context.config, ["aiplatform.googleapis.com"])
        if isinstance(refused, PermissionDenied):
            fix = grant("projects", context.config.project, context.member, "roles/aiplatform.user")
        raise Missing(google_errors.message(refused), fix) from None
    return f"answers in {context.config.region}"


def machines(context: Context) -> str:
    """Checks that Vertex AI has the machine types that the settings name, with their accelerators."""
    found = machine_types.named(context.config)
    wrong = {name: list(filter(None, map(machine_types.mistake, machines))) for name, machines in found.items()}
    if mistakes := {name: each for name, each in wrong.items() if each}:
        text = "; ".join(f"{name}: {'; '.join(each)}" for name, each in mistakes.items())
        raise Missing(text, *(f"export {name}=n1-standard-4" for name in mistakes))
    unknown = [machine.type for each in found.values() for machine in each if not machine_types.is_known(machine)]
    if unknown:
        raise Unknown(f"{', '.join(unknown)}: of a series that is not known here, which may be a mistake in writing")
    return ", ".join(
        dict.fromkeys(machine_types.format_machine(machine) for each in found.values() for machine in each)
    )


def automl(context: Context) -> str:
    """Checks that Vertex AI offers AutoML's image training to this project: asks for a training that it must refuse.

    Its dataset does not exist and its budget is below the least that there is, so nothing starts and nothing costs. Of
    a project that may train, Vertex AI complains of one of the two; of another one, of something else.
    """
    config = context.config
    if config.pipeline != "automl":
        return "not used: PIPELINE is training"
    context.needs("project", "region")
    with without_support_warnings():
        from google.api_core.exceptions import GoogleAPIError, InvalidArgument, NotFound, PermissionDenied
        from google.protobuf import json_format, struct_pb2

    inputs = {"modelType": "CLOUD", "budgetMilliNodeHours": 1, "multiLabel": False}
    training = {
        "display_name": "spanloop-doctor",
        "training_task_definition": AUTOML_TASK,
        "training_task_inputs": json_format.ParseDict(inputs, struct_pb2.Value()),
        "input_data_config": {"dataset_id": "1"},
        "model_to_upload": {"display_name": "spanloop-doctor"},
    }
    try:
        client(config, "PipelineService").create_training_pipeline(
            parent=location(config), training_pipeline=training, timeout=20
        )
    except (InvalidArgument, NotFound):
        dollars = automl_prices.most_dollars(config)
        return f"offered in {config.region}; a run costs at most ${dollars:,.2f} for training"
    except GoogleAPIError as refused:
        if found := google_errors.explain(refused):
            raise found from None
        fix = "export PIPELINE=training"
        if isinstance(refused, PermissionDenied):
            fix = grant("projects", config.project, context.member, "roles/aiplatform.user")
        raise Missing(f"AutoML trains no images here: {google_errors.message(refused)}", fix) from None
    raise Unknown("Vertex AI took a training that it had to refuse: look at the trainings in the console")


# https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.trainingPipelines
AUTOML_TASK = "gs://google-cloud-aiplatform/schema/trainingjob/definition/automl_image_classification_1.0.0.yaml"


def endpoint(context: Context) -> str:
    """Checks the endpoint, which the first deployment creates."""
    name = context.config.endpoint
    if not name:
        return "not set: models are released, but not deployed"
    context.needs("workspace", "project", "region")
    from pipeline.serving.endpoint import Endpoint

    try:
        vertex(context)
    except Missing as missing:
        raise Unknown("Vertex AI does not answer", missing.fix) from None
    try:
        deployed = Endpoint(context.config)
        found = deployed.find()
        unused = deployed.unused(found)
    except UsageError as several:
        raise Missing(str(several), f"gcloud ai endpoints list --region={context.config.region}") from None
    except CloudRefused as refused:
        may = grant("projects", context.config.project, context.member, "roles/aiplatform.user")
        raise Missing(str(refused), may) from None
    if unused:
        undeploy = f"gcloud ai endpoints undeploy-model {found.name} --region={context.config.region}"
        raise Missing(
            f"{', '.join(unused.values())} without traffic: no releases of {context.config.releases}, but each keeps a"
            " machine running, which `python -m ci clean` ends after 30 days",
            *(f"{undeploy} --deployed-model-id={each}" for each in unused),
        )
    served = found and ", ".join(f"{model} {share} %" for model, share in found.traffic_split.items())
    return f"{name} serves {served or 'nothing yet'}" if found else f"{name} will be created by the first deployment"


def devices(context: Context) -> str:
    """Checks the channels for devices and the key that signs them."""
    config = context.config
    if not config.device_channel:
        return "not set: models are not published for devices"
    if not config.device_signing_key:
        raise Missing("DEVICE_SIGNING_KEY: not set", "export DEVICE_SIGNING_KEY=device-key.pem")
    from pipeline.serving.device_channel import DeviceChannel

    if is_kms_key(config.device_signing_key):
        key = resources.key(config.device_signing_key)
        held = held_permissions(context, f"{key.url}:testIamPermissions", list(SIGNING))
        if absent := [permission for permission in SIGNING if permission not in held]:
            signer = Grant(key, "roles/cloudkms.signerVerifier", context.member)
            raise Missing(f"you may not {', '.join(absent)}", grant_command(signer))
    try:
        channels = DeviceChannel(config).look().channels
    except SigningKeyUnusable as unusable:
        raise Missing(str(unusable), "openssl genpkey -algorithm ed25519 -out device-key.pem") from None
    soon = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=EARLY)
    expiring = [f"{name} at {of.expires}" for name, of in channels.items() if parse_time(of.expires) < soon]
    if expiring:
        raise Missing(f"devices soon follow no more: {', '.join(expiring)}", "python -m ci promote --only devices")
    pointed = ", ".join(f"{name} {of.tag} {of.percent} %" for name, of in channels.items())
    return f"{config.device_channel}: {pointed or 'nothing yet'}"


EARLY = 14  # days before the end of a pointer
SIGNING = ("cloudkms.cryptoKeyVersions.useToSign", "cloudkms.cryptoKeyVersions.viewPublicKey")


def secret(context: Context) -> str:
    """Reads the secret of pipelines without showing it; where the caller may not, checks their account's role."""
    name, reader = context.config.release_token_secret, context.config.service_account
    if not name:
        return "not set: pipelines need none"
    place = resources.secret(name)
    try:
        empty = not secrets.read(name)
    except SecretUnreadable as refused:
        create = f"gcloud secrets create {place.gcloud} --data-file=-  # unless it exists"
        if _denied(refused) and reader != context.caller:
            context.needs("service_account")
            if not exists(context, place):
                raise Missing(f"{name} does not exist", create) from None
            roles(context, [Grant(place, ACCESSOR, f"serviceAccount:{reader}")])
            return f"{name} is for {reader} to read"
        raise Missing(str(refused), create, grant_command(Grant(place, ACCESSOR, context.member))) from None
    if empty:
        raise Missing(f"{name} is empty", f"gcloud secrets versions add {place.gcloud} --data-file=-")
    return f"{name} can be read"


ACCESSOR = "roles/secretmanager.secretAccessor"


def _denied(unreadable: SecretUnreadable) -> bool:
    from google.api_core.exceptions import PermissionDenied

    return isinstance(unreadable.__cause__, PermissionDenied)
