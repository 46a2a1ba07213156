"""What `submit` would start: nothing is written, copied or built, and permissions to read are enough."""

import concurrent.futures
import dataclasses
from collections.abc import Mapping

from pipeline import plan
from pipeline.cloud import automl_prices
from pipeline.cloud.rest import Rest, default_rest
from pipeline.config import Config, Machine
from pipeline.data import spans
from pipeline.data.incoming import collected
from pipeline.data.spans import Span
from pipeline.orchestrators import compiled, estimate, past_runs, vertex_request
from pipeline.orchestrators.definitions import AUTOML, RETRAINING, TRAINING
from pipeline.orchestrators.estimate import Estimate
from pipeline.orchestrators.past_runs import Job
from pipeline.orchestrators.vertex_request import Request
from pipeline.packaging import image
from pipeline.packaging.modules import Modules
from pipeline.storage.factory import open_storage


@dataclasses.dataclass(frozen=True)
class Trained:
    """What a training is about: that of the request, or the one that a retraining starts."""

    spans: tuple[Span, ...]
    new_span: int | None  # the one that a retraining makes of the collected images, where it trains on it
    collected: int  # images that wait for it, of which some may turn out as unusable or known
    current: str  # tag of the release that the model is compared with, "" without one
    nodes: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Preview:
    """A run that would be submitted, and what is known of it."""

    request: Request
    job: Job  # as it would be submitted
    image: image.Record
    trained: Trained
    machines: Mapping[str, list[Machine]]  # {node: the first that has capacity is taken}
    existing: Job | None  # an equal run that is there, so that nothing would be started
    last: Job | None  # the newest run of the pipeline
    cached: list[str]  # nodes that Vertex AI will probably take from its cache
    cost: Estimate  # of a retraining with the training that it starts
    automl_dollars: float | None  # that AutoML's trainings cost at most; None without AutoML


def preview(config: Config, name: str, selection: str) -> Preview | None:
    """Returns what `submit` would do; None with nothing to do. Raises what vertex_request.prepare does."""
    config.require(*vertex_request.NEEDED)
    rest = default_rest()
    with concurrent.futures.ThreadPoolExecutor(2) as threads:  # which wait for answers while TFX is imported
        reading = {each: threads.submit(past_runs.newest, rest, config, each) for each in {name, TRAINING}}
        request = vertex_request.prepare(config, name, selection, copy=False, accepted=True)
        if request is None:
            return None
        past = {each: runs.result() for each, runs in reading.items()}
    config = vertex_request.with_image(config)
    job, retrains = vertex_request.described(config, request), name == RETRAINING
    by_automl = name == AUTOML or retrains and config.pipeline == AUTOML
    trained = _retrained(config, selection, request) if retrains else _trained(config, selection, request)
    cached = past_runs.cached_nodes(job, past[name])
    running = [node for node in _nodes(request.pipeline) if node not in cached]
    seconds = past_runs.seconds(past[TRAINING]) | past_runs.seconds(past[name])
    return Preview(
        request=request,
        job=job,
        image=image.record(open_storage(config.workspace), config.image),
        trained=trained,
        machines={} if by_automl else estimate.machines(config),
        existing=_existing(rest, config, request),
        last=next(iter(past[name]), None),
        cached=cached,
        cost=estimate.estimate(config, [*running, *(trained.nodes if retrains else ())], seconds, 1 + retrains),
        automl_dollars=automl_prices.most_dollars(config) if by_automl else None,
    )


def _trained(config: Config, selection: str, request: Request) -> Trained:
    published = spans.published(open_storage(config.workspace))
    chosen = spans.select(selection, published)
    on = tuple(span for span in published if span.number in chosen)
    return Trained(on, None, 0, request.current, _nodes(request.pipeline))


def _retrained(config: Config, selection: str, request: Request) -> Trained:
    storage = open_storage(config.workspace)
    published, new = spans.published(storage), int(request.labels["spans"])
    chosen = spans.select_of(selection, {new, *(span.number for span in published)})
    on = tuple(span for span in published if span.number in chosen)
    shape, current = plan.next_training(config, Modules.from_json(request.values["modules"]))
    started = AUTOML if config.pipeline == AUTOML else TRAINING
    made = new if new in chosen and new not in (span.number for span in published) else None
    nodes = _nodes(compiled.compile_pipeline(config, started, shape))
    return Trained(on, made, collected.waiting(storage).images, current, nodes)


def _nodes(pipeline: compiled.Compiled) -> tuple[str, ...]:
    return tuple(pipeline.spec["root"]["dag"]["tasks"])


def _existing(rest: Rest, config: Config, request: Request) -> Job | None:
    """Returns the run because of which the request would start none."""
    for name in request.names():
        found = past_runs.find(rest, config, name)
        if found is None or past_runs.state_of(found) not in request.replaced:
            return found
    raise AssertionError("names do not end")
