"""What Vertex AI keeps and nothing needs any more: results of runs, deployments, model versions, batch predictions.

Vertex AI uses cached results of nodes for as long as it knows their executions, whether their files are there or not:
https://cloud.google.com/vertex-ai/docs/pipelines/configure-caching. So an execution is deleted before its files.
"""

import contextlib
import dataclasses
import functools
import re
from collections.abc import Callable, Collection, Iterator
from typing import Any

from pipeline.batch import on_vertex
from pipeline.cleaning.item import Item, Search, grouped
from pipeline.cloud.calls import cloud_errors, converge, read_retry, wait_for_operation
from pipeline.cloud.vertex import client, label_value, location
from pipeline.errors import CloudRefused
from pipeline.orchestrators import vertex_job
from pipeline.serving.model_registry import DEFAULT, SERVING, Registry

MODEL = r"spanloop-[0-9a-f]{12}"  # IDs of models that releases were uploaded to, also under other names of RELEASES


# Runs


@dataclasses.dataclass(frozen=True)
class Runs:
    """Runs with results in the workspace. Recent: not ended, young, or the newest of their pipeline that succeeded."""

    recent: tuple[Any, ...]
    others: tuple[Any, ...]

    def labels(self, name: str) -> set[str]:
        """Returns the values of a label of the recent runs."""
        return {job.labels[name] for job in self.recent if name in job.labels}


def runs(search: Search) -> Runs:
    """Lists the runs of the workspace. Raises CloudRefused."""
    root = f"{search.config.workspace}/pipeline_root/"
    with cloud_errors("Listing the runs on Vertex AI"):
        jobs = client(search.config, "PipelineService")
        listed = jobs.list_pipeline_jobs({"parent": location(search.config)}, retry=read_retry())
        found = [job for job in listed if job.runtime_config.gcs_output_directory.startswith(root)]
        newest: dict[str, str] = {}
        for job in sorted(found, key=lambda job: job.create_time.timestamp()):
            if vertex_job.state_of(job) == "succeeded":
                newest[job.labels.get("pipeline", "")] = job.name
        recent = [
            job
            for job in found
            if vertex_job.state_of(job) not in vertex_job.ENDED
            or not search.is_old((job.end_time or job.update_time).timestamp())
            or job.name in newest.values()
        ]
        # a list need not have the details of tasks
        whole = tuple(jobs.get_pipeline_job(name=job.name, retry=read_retry()) for job in recent)
    names = {job.name for job in recent}
    return Runs(whole, tuple(job for job in found if job.name not in names))


def results(search: Search, known: Runs) -> Iterator[Item]:
    """Yields what runs wrote below pipeline_root/, unless a recent run has used it by the cache."""
    used = {uri for job in known.recent for uri in _artifacts(job)}
    others = {job.name.rpartition("/")[2] for job in known.others}
    executions = functools.cache(lambda: _executions(search, known.others))
    for name, found in grouped(search.storage.list_dated("pipeline_root"), 4).items():
        address = search.storage.address(name)
        if name.rpartition("/")[2] not in others or any(uri.startswith(f"{address}/") for uri in used):
            continue
        if search.is_old(found.modified):
            yield Item(
                "results of a run",
                address,
                search.age(found.modified),
                found.size,
                "no recent run has made or used them",
                lambda name=name: _remove_results(search, executions().get(name, set()), name),
            )


def checkpoints(search: Search, known: Runs) -> Iterator[Item]:
    """Yields checkpoints of trainings that no recent run may go on with."""
    given = "".join(str(type(job).pb(job).runtime_config) for job in known.recent)
    for name, found in grouped(search.storage.list_dated("pipeline_root/training/checkpoints"), 4).items():
        if name not in given and search.is_old(found.modified):
            yield Item(
                "checkpoints",
                search.storage.address(name),
                search.age(found.modified),
                found.size,
                "no recent run may go on with them",
                lambda name=name: search.storage.delete_folder(name),
            )


def _artifacts(job: Any) -> Iterator[str]:
    """Yields the addresses of all that the nodes of a run have read and written."""
    for task in job.job_detail.task_details:
        for lists in (task.inputs, task.outputs):
            yield from (artifact.uri for each in lists.values() for artifact in each.artifacts)


def _executions(search: Search, jobs: Collection[Any]) -> dict[str, set[str]]:
    """Returns {folder of a run: executions whose outputs are in it}, also those of later runs that used the cache."""
    found: dict[str, set[str]] = {}
    service = client(search.config, "PipelineService")
    with cloud_errors("Reading the nodes of runs on Vertex AI"):
        for job in jobs:
            whole = service.get_pipeline_job(name=job.name, retry=read_retry())
            for task in whole.job_detail.task_details:
                for artifact in (artifact for each in task.outputs.values() for artifact in each.artifacts):
                    parts = artifact.uri.removeprefix(f"{search.config.workspace}/").split("/")
                    found.setdefault("/".join(parts[:4]), set()).add(task.execution.name)
    return found


def _remove_results(search: Search, executions: Collection[str], folder: str) -> None:
    metadata, doing = client(search.config, "MetadataService"), f"Deleting an execution of {folder}"
    if "" in executions:
        raise CloudRefused(doing, "Vertex AI names none for one of its nodes, whose results it may use from the cache")
    for name in sorted(executions):
        _delete(metadata, lambda name=name: metadata.delete_execution(name=name), doing)
    search.storage.delete_folder(folder)


# Models


@dataclasses.dataclass(frozen=True)
class Registered:
    """A version of a model that this workspace uploaded."""

    model: str  # resource name, without a version
    version: Any  # as Vertex AI describes it
    deployed: tuple[tuple[Any, Any], ...]  # endpoint and deployed model
    is_release: bool  # of RELEASES

    @property
    def traffic(self) -> int:
        """The percent of traffic that it gets on any endpoint."""
        return max((endpoint.traffic_split.get(each.id, 0) for endpoint, each in self.deployed), default=0)


def registered(search: Search) -> list[Registered]:
    """Lists the versions whose files are in the workspace, also those of a former name of RELEASES."""
    from google.api_core.exceptions import NotFound

    parent = {"parent": location(search.config)}
    archives = {release.tag: label_value(release.archive) for release in search.releases if release.archive}
    own, serving = Registry(search.config).model_id, f"{search.storage.address(SERVING)}/"
    with cloud_errors("Listing models on Vertex AI"):
        endpoints = list(client(search.config, "EndpointService").list_endpoints(parent, retry=read_retry()))
        models = client(search.config, "ModelService")
        found = []
        for model in models.list_models(parent, retry=read_retry()):
            name = model.name.partition("@")[0]
            short = name.rpartition("/")[2]
            if not re.fullmatch(MODEL, short):
                continue
            try:
                of_model = list(models.list_model_versions({"name": name}, retry=read_retry()))
            except NotFound:  # another process has just deleted it
                continue
            for version in of_model:
                if not version.artifact_uri.startswith(serving):
                    continue
                deployed = tuple(
                    (endpoint, each)
                    for endpoint in endpoints
                    for each in endpoint.deployed_models
                    if each.model.partition("@")[0].rpartition("/")[2] == short
                    and each.model_version_id == version.version_id
                )
                tags = [tag for tag in version.version_aliases if tag in archives]
                is_release = short == own and any(version.labels.get("archive") == archives[tag] for tag in tags)
                found.append(Registered(name, version, deployed, is_release))
    return found


def deployments(search: Search, versions: Collection[Registered]) -> Iterator[Item]:
    """Yields deployed models without traffic that are no releases of RELEASES: each keeps a machine running."""
    for each in versions:
        for endpoint, deployed in each.deployed if not each.is_release else ():
            moment = deployed.create_time.timestamp()
            if not endpoint.traffic_split.get(deployed.id, 0) and search.is_old(moment):
                yield Item(
                    "deployed model",
                    f"{deployed.display_name} on {endpoint.display_name}",
                    search.age(moment),
                    0,
                    f"without traffic and no release of {search.config.releases}, but it keeps a machine running",
                    lambda endpoint=endpoint.name, number=deployed.id: _undeploy(search, endpoint, number),
                )


def unneeded(search: Search, versions: Collection[Registered]) -> list[Registered]:
    """Returns the versions that no release and no traffic needs; a default version only with its whole model."""
    old = [
        each
        for each in versions
        if not each.is_release
        and not each.traffic
        and search.is_old(each.version.version_create_time.timestamp())
        and all(search.is_old(deployed.create_time.timestamp()) for _, deployed in each.deployed)
    ]
    whole = {each.model for each in versions} - {each.model for each in versions if each not in old}
    return [each for each in old if each.model in whole or DEFAULT not in each.version.version_aliases]


def versions_of(search: Search, old: Collection[Registered], versions: Collection[Registered]) -> Iterator[Item]:
    """Yields what `unneeded` found: a model where all of its versions are, else single versions."""
    kept = {each.model for each in versions if each not in old}
    for model in dict.fromkeys(each.model for each in old):
        of_model = sorted((each for each in old if each.model == model), key=lambda each: int(each.version.version_id))
        newest = max(each.version.version_create_time.timestamp() for each in of_model)
        if model not in kept:
            why = f"no release of {search.config.releases} and without traffic"
            yield Item("model", model, search.age(newest), 0, why, lambda model=model: _delete_model(search, model))
            continue
        for each in of_model:
            name, moment = f"{model}@{each.version.version_id}", each.version.version_create_time.timestamp()
            why = "its release is gone, and it is without traffic"
            yield Item(
                "model version", name, search.age(moment), 0, why, lambda name=name: _delete_version(search, name)
            )


def _undeploy(search: Search, endpoint: str, number: str) -> None:
    endpoints = client(search.config, "EndpointService")

    def start() -> Any:
        there = endpoints.get_endpoint(name=endpoint, retry=read_retry()).deployed_models
        if any(each.id == number for each in there):
            return endpoints.undeploy_model(endpoint=endpoint, deployed_model_id=number)

    _delete(endpoints, start, f"Undeploying {number}")


def _delete_model(search: Search, name: str) -> None:
    models = client(search.config, "ModelService")
    _delete(models, lambda: models.delete_model(name=name), f"Deleting the model {name.rpartition('/')[2]}")


def _delete_version(search: Search, name: str) -> None:
    models = client(search.config, "ModelService")
    _delete(models, lambda: models.delete_model_version(name=name), f"Deleting {name.rpartition('/')[2]}")


# Batch predictions


def predictions(search: Search) -> Iterator[Item]:
    """Yields images and answers of batch predictions but the newest, which the last evaluation may have used."""
    own = f"{search.storage.address(on_vertex.FOLDER)}/"
    with cloud_errors("Listing the batch predictions on Vertex AI"):
        service = client(search.config, "JobService")
        listed = service.list_batch_prediction_jobs({"parent": location(search.config)}, retry=read_retry())
        jobs = [job for job in listed if job.output_config.gcs_destination.output_uri_prefix.startswith(own)]
    ended = [job for job in jobs if job.state.name in (*on_vertex.SUCCEEDED, *on_vertex.FAILED)]
    newest = max(jobs, key=lambda job: job.create_time.timestamp(), default=None)
    needed = {
        _folder_of(job, own)
        for job in jobs
        if job is newest or job not in ended or not search.is_old((job.end_time or job.update_time).timestamp())
    }
    for name, found in grouped(search.storage.list_dated(on_vertex.FOLDER), 3).items():
        short = name.rpartition("/")[2]
        if not re.fullmatch(r"model-[1-9]\d*-[0-9a-f]{16}", short) or short in needed:
            continue
        if search.is_old(found.modified):
            of_folder = [job.name for job in ended if _folder_of(job, own) == short]
            yield Item(
                "batch prediction",
                search.storage.address(name),
                search.age(found.modified),
                found.size,
                "not the newest",
                lambda jobs=of_folder, name=name: _remove_predictions(search, jobs, name),
            )


def _folder_of(job: Any, own: str) -> str:
    return job.output_config.gcs_destination.output_uri_prefix.removeprefix(own).partition("/")[0]


def _remove_predictions(search: Search, jobs: list[str], folder: str) -> None:
    """Deletes the jobs first: `evaluate` reads the answers of a job that it finds."""
    service = client(search.config, "JobService")
    for name in jobs:
        _delete(service, lambda name=name: service.delete_batch_prediction_job(name=name), f"Deleting {name}")
    search.storage.delete_folder(folder)


def _delete(service: Any, start: Callable[[], Any], doing: str) -> None:
    """Starts a deletion and waits for its end; what is gone already is fine, then `start` may return None.

    Raises CloudRefused.
    """
    from google.api_core.exceptions import NotFound

    def step() -> bool:
        with contextlib.suppress(NotFound):
            if started := start():
                wait_for_operation(service, started.operation.name, doing)
        return True

    converge(doing, step)
