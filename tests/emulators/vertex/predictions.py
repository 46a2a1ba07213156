"""Predictions by the model that the traffic split selects: by its container, or as AutoML's."""

import json
from typing import Any

from google.cloud import aiplatform_v1 as types
from google.protobuf import json_format, struct_pb2
from grpc import StatusCode

from tests.emulators.services import Caller, Refused, Rpc
from tests.emulators.vertex.automl import AutoML, decoded
from tests.emulators.vertex.endpoints import Endpoints
from tests.emulators.vertex.models import Models
from tests.emulators.vertex.names import invalid
from tests.emulators.vertex.serving import Serving

LARGEST = 1_500_000  # bytes of a request: https://cloud.google.com/vertex-ai/docs/quotas


class Predictions:
    """PredictionService."""

    def __init__(self, endpoints: Endpoints, models: Models, automl: AutoML, serving: Serving):
        self._endpoints, self._models, self._automl, self._serving = endpoints, models, automl, serving

    def rpcs(self) -> dict[str, Rpc]:
        predict = Rpc(types.PredictRequest, types.PredictResponse, self.predict)
        return {"/google.cloud.aiplatform.v1.PredictionService/Predict": predict}

    def predict(self, request: types.PredictRequest, caller: Caller) -> types.PredictResponse:
        plain = types.PredictRequest.pb(request)
        if plain.ByteSize() > LARGEST:
            raise invalid(f"The request size ({plain.ByteSize()} bytes) exceeds 1.500MB limit.")
        if not plain.instances:
            raise invalid("List of found errors: 1. Field: instances; Message: Required.")
        deployed = self._endpoints.choose(request.endpoint, caller)
        model = self._models.find(f"{deployed.model}@{deployed.model_version_id}", caller)
        instances = [_as_json(json_format.MessageToDict(row)) for row in plain.instances]
        if self._automl.is_trained(model):
            parameters = json_format.MessageToDict(plain.parameters) if plain.HasField("parameters") else {}
            answers = self._automl.predict(model, instances, parameters, decoded)
        else:
            answers = self._serving.predict(model, instances)
        for answer in answers:
            if "error" in answer:  # one invalid instance fails the whole request
                raise Refused(StatusCode.INVALID_ARGUMENT, json.dumps({"error": answer["error"]}))
        response = types.PredictResponse(
            deployed_model_id=deployed.id,
            model=model.name,
            model_version_id=model.version_id,
            model_display_name=model.display_name,
        )
        rows = [json_format.ParseDict(answer["prediction"], struct_pb2.Value()) for answer in answers]
        types.PredictResponse.pb(response).predictions.extend(rows)
        return response


def _as_json(value: Any) -> Any:
    """Converts whole numbers to int: protobuf has only floats, but models may take integers."""
    if isinstance(value, list):
        return [_as_json(each) for each in value]
    if isinstance(value, dict):
        return {name: _as_json(each) for name, each in value.items()}
    return int(value) if isinstance(value, float) and value.is_integer() else value
