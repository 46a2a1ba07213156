"""REST of Vertex AI for the methods that are called by it: JSON requests become those of gRPC.

The rules are those of google.api.http in google/cloud/aiplatform/v1/*_service.proto:
https://github.com/googleapis/googleapis/tree/master/google/cloud/aiplatform/v1
"""

import functools
import json
import re
import urllib.parse
from collections.abc import Mapping
from typing import Any, NamedTuple

from google.protobuf import json_format

from tests.emulators.services import JSON, Call, Caller, Request, Response, Rpc
from tests.emulators.vertex.names import invalid

AIPLATFORM = "google.cloud.aiplatform.v1"
IN_REGION = "projects/*/locations/*"


class Rule(NamedTuple):
    """A method in REST. `path` names a field and its pattern, `body` the field that the body is: "*" for all."""

    verb: str
    path: str
    rpc: str
    body: str = ""


RULES = (
    Rule("POST", f"{{parent={IN_REGION}}}/endpoints", f"{AIPLATFORM}.EndpointService/CreateEndpoint", "endpoint"),
    Rule("GET", f"{{name={IN_REGION}/endpoints/*}}", f"{AIPLATFORM}.EndpointService/GetEndpoint"),
    Rule("DELETE", f"{{name={IN_REGION}/endpoints/*}}", f"{AIPLATFORM}.EndpointService/DeleteEndpoint"),
    Rule("POST", f"{{endpoint={IN_REGION}/endpoints/*}}:deployModel", f"{AIPLATFORM}.EndpointService/DeployModel", "*"),
    Rule(
        "POST",
        f"{{endpoint={IN_REGION}/endpoints/*}}:undeployModel",
        f"{AIPLATFORM}.EndpointService/UndeployModel",
        "*",
    ),
    Rule("POST", f"{{parent={IN_REGION}}}/models:upload", f"{AIPLATFORM}.ModelService/UploadModel", "*"),
    Rule("POST", f"{{name={IN_REGION}/models/*}}:export", f"{AIPLATFORM}.ModelService/ExportModel", "*"),
    Rule("GET", f"{{name={IN_REGION}/*/*/operations/*}}", "google.longrunning.Operations/GetOperation"),
    Rule("POST", f"{{name={IN_REGION}/*/*/operations/*}}:cancel", "google.longrunning.Operations/CancelOperation"),
    Rule("GET", f"{{parent={IN_REGION}}}/pipelineJobs", f"{AIPLATFORM}.PipelineService/ListPipelineJobs"),
    Rule("GET", f"{{name={IN_REGION}/pipelineJobs/*}}", f"{AIPLATFORM}.PipelineService/GetPipelineJob"),
    Rule(
        "POST",
        f"{{name={IN_REGION}/trainingPipelines/*}}:cancel",
        f"{AIPLATFORM}.PipelineService/CancelTrainingPipeline",
        "*",
    ),
    Rule(
        "POST",
        f"{{name={IN_REGION}/batchPredictionJobs/*}}:cancel",
        f"{AIPLATFORM}.JobService/CancelBatchPredictionJob",
        "*",
    ),
)


class Rest:
    """The methods of gRPC by their rules."""

    def __init__(self, rpcs: Mapping[str, Rpc]):
        self._rpcs = rpcs

    def call(self, request: Request) -> Call | None:
        """The call of a request; None when no rule has its path."""
        path = urllib.parse.unquote(request.path)
        for rule in RULES:
            if rule.verb == request.verb and (match := _pattern(rule.path).fullmatch(path)):
                work = functools.partial(_answer, self._rpcs[f"/{rule.rpc}"], rule, match.groupdict(), request)
                return Call(rule.rpc.rpartition("/")[2], path, work)
        return None


def _pattern(path: str) -> re.Pattern[str]:
    def group(match: re.Match[str]) -> str:
        return f"(?P<{match[1]}>{match[2].replace('*', '[^/:]+')})"

    return re.compile("/v1/" + re.sub(r"\{(\w+)=([^}]+)\}", group, path))


def _answer(rpc: Rpc, rule: Rule, fields: Mapping[str, str], request: Request, caller: Caller) -> Response:
    given: dict[str, Any] = request.json()
    if rule.body not in ("", "*"):
        given = {rule.body: given}
    message = rpc.request.pb(rpc.request()) if hasattr(rpc.request, "pb") else rpc.request()
    try:
        json_format.ParseDict({**given, **request.parameters(), **fields}, message)
    except json_format.ParseError as error:
        raise invalid(f"Invalid JSON payload received. {error}") from None
    answer = rpc.handler(rpc.request.wrap(message) if hasattr(rpc.request, "pb") else message, caller)
    plain = rpc.response.pb(answer) if hasattr(rpc.response, "pb") else answer
    return Response(200, json.dumps(json_format.MessageToDict(plain)).encode(), JSON)
