"""The cloud model on an endpoint of Vertex AI, asked by Google's client."""

import base64
import dataclasses
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from apps.client.answers import Answer, Unanswered
from apps.client.pictures import for_server
from apps.client.server import read_prediction
from pipeline.cloud.vertex import client
from pipeline.config import Config
from pipeline.data.automl_dataset import ALL_LABELS
from pipeline.errors import SpanloopError
from pipeline.serving import endpoint

if TYPE_CHECKING:
    from google.cloud.aiplatform_v1 import PredictRequest

LARGEST_REQUEST = 1_500_000  # bytes: https://cloud.google.com/vertex-ai/docs/quotas
TOGETHER = 8  # requests at a time


class NoEndpoint(SpanloopError):
    """The endpoint VERTEX_ENDPOINT does not exist."""

    def __init__(self, name: str):
        super().__init__(f"There is no endpoint {name}: deploy a release with `python -m ci promote`.")


class VertexEndpoint:
    """The endpoint VERTEX_ENDPOINT. `budget` are the seconds within which an answer has to be there."""

    def __init__(self, config: Config, budget: float):
        config.require("project", "region", "endpoint")
        found = endpoint.find(config)
        if found is None:
            raise NoEndpoint(config.endpoint)
        self._name, self._budget = found.name, budget
        self._predictions = client(config, "PredictionService")
        self._pool = ThreadPoolExecutor(TOGETHER)
        self._format = _OWN

    def ask(self, picture: bytes) -> "Future[Answer]":
        """Begins to ask about a PNG or JPEG. The result comes within the budget, or is Unanswered."""
        return self._pool.submit(self._ask, for_server(picture))

    def close(self) -> None:
        self._pool.shutdown()

    def _ask(self, picture: bytes) -> Answer:
        """Asks in the format that answered last, and in the other one when that is refused.

        An endpoint does not say which format its models take, may have models of both, and may get others at any time.
        """
        first = self._format  # another thread may replace it meanwhile
        try:
            return self._ask_in(first, picture)
        except Unanswered as refused:
            if refused.rests or not refused.sent:
                raise
            other = _AUTOML if first is _OWN else _OWN
            try:
                answer = self._ask_in(other, picture)
            except Unanswered:
                raise refused from None  # it was about the picture
            self._format = other
            return dataclasses.replace(answer, sent=answer.sent + refused.sent)

    def _ask_in(self, format_: "_Format", picture: bytes) -> Answer:
        from google.api_core import exceptions
        from google.protobuf import json_format

        request = self._request(format_, picture)
        sent, began = type(request).pb(request).ByteSize(), time.monotonic()
        if sent > LARGEST_REQUEST:
            raise Unanswered(f"a request of {sent:,} bytes is larger than Vertex AI takes", rests=False)
        try:
            response = self._predictions.predict(request, timeout=self._budget, retry=None)
            (row,) = type(response).pb(response).predictions
            label, confidence, probabilities = format_.read(json_format.MessageToDict(row))
        except (exceptions.GoogleAPICallError, exceptions.RetryError) as error:
            about_the_request = isinstance(error, exceptions.InvalidArgument)
            seconds = time.monotonic() - began
            raise Unanswered(
                _why(error, self._budget), rests=not about_the_request, seconds=seconds, sent=sent
            ) from None
        except (ValueError, KeyError, TypeError) as error:
            seconds = time.monotonic() - began
            raise Unanswered(f"its answer cannot be read ({error!r:.200})", seconds=seconds, sent=sent) from None
        named = response.model_display_name
        return Answer(label, confidence, probabilities, named, time.monotonic() - began, sent)

    def _request(self, format_: "_Format", picture: bytes) -> "PredictRequest":
        from google.cloud.aiplatform_v1 import PredictRequest
        from google.protobuf import json_format, struct_pb2

        request = PredictRequest(endpoint=self._name)
        instance = format_.instance(base64.b64encode(picture).decode())
        PredictRequest.pb(request).instances.append(json_format.ParseDict(instance, struct_pb2.Value()))
        if format_.parameters:
            PredictRequest.pb(request).parameters.CopyFrom(
                json_format.ParseDict(format_.parameters, struct_pb2.Value())
            )
        return request


@dataclass(frozen=True)
class _Format:
    """How models take a picture, in base64, and how a prediction says label, confidence and probabilities."""

    instance: Callable[[str], Mapping[str, Any]]
    read: Callable[[Mapping[str, Any]], tuple[str, float, Mapping[str, float]]]
    parameters: Mapping[str, Any] = field(default_factory=dict)


def _read_automl(prediction: Mapping[str, Any]) -> tuple[str, float, Mapping[str, float]]:
    """https://cloud.google.com/vertex-ai/docs/image-data/classification/get-predictions"""
    shares = dict(zip(prediction["displayNames"], map(float, prediction["confidences"]), strict=True))
    label = max(shares, key=shares.__getitem__)
    return read_prediction(
        {"label": label, "confidence": shares[label], "all_classes": [*shares], "probabilities": [*shares.values()]}
    )


_OWN = _Format(lambda picture: {"image": {"b64": picture}}, read_prediction)
_AUTOML = _Format(lambda picture: {"content": picture}, _read_automl, ALL_LABELS)


def _why(error: Exception, budget: float) -> str:
    from google.api_core import exceptions

    if isinstance(error, exceptions.DeadlineExceeded):
        return f"no answer within {budget:g} s"
    return " ".join(str(error).split())[:300]
