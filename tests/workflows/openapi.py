"""GitHub's OpenAPI description: its methods, the part in use, and JSON schemas of responses."""

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

VERBS = ("get", "put", "post", "delete", "patch")
HOSTS = re.compile(r"https://(api|uploads)\.github\.com")
JSON = "application/json"
# GitHub's media type for JSON, and one that PyGithub sends since a method was in preview: GitHub accepts both.
ALSO_JSON = ("application/vnd.github+json", "application/vnd.github.ant-man-preview+json")


class Method(NamedTuple):
    """One method: "POST", "/repos/{owner}/{repo}/releases", and its operation object in OpenAPI."""

    verb: str
    path: str
    operation: dict[str, Any]

    @property
    def shape(self) -> tuple[str, str]:
        """Verb and path without the names of the path's parts, which differ between descriptions."""
        return shape(self.verb, self.path)


def shape(verb: str, path: str) -> tuple[str, str]:
    return verb.upper(), re.sub(r"\{\w+\}", "{}", path)


class Description:
    """GitHub's description of its API (OpenAPI 3.0), a file of 13 MB."""

    def __init__(self, file: Path):
        self._all = json.loads(file.read_text(encoding="utf-8"))
        # The state of an incomplete upload, which the description mentions only in its text.
        self._all["components"]["schemas"]["release-asset"]["properties"]["state"]["enum"].append("starter")
        self.methods = {
            operation["operationId"]: Method(verb.upper(), path, operation)
            for path, verbs in self._all["paths"].items()
            for verb, operation in verbs.items()
            if verb in VERBS
        }

    def trimmed(self, names: Iterable[str], address: str) -> dict[str, Any]:
        """The description limited to some methods, for a server at `address`.

        All addresses in it point to that server, so that clients that follow them stay there. Parts that Prism does not
        support are rewritten.
        """
        paths: dict[str, dict[str, Any]] = {}
        for name in names:
            verb, path, operation = self.methods[name]
            paths.setdefault(path, {})[verb.lower()] = operation
        rest = {name: value for name, value in self._all.items() if name not in ("paths", "components", "x-webhooks")}
        whole = {**rest, "paths": paths, "components": self._components(paths)}
        found = json.loads(HOSTS.sub(address, json.dumps(whole)))
        _patch(found)
        return found

    def fields(self, name: str) -> tuple[set[str], set[str]]:
        """Names of a method's query parameters, and of the fields of its JSON body."""
        operation = self.methods[name].operation
        parameters = [self._resolved(parameter) for parameter in operation.get("parameters", ())]
        query = {parameter["name"] for parameter in parameters if parameter["in"] == "query"}
        body = self._resolved(operation.get("requestBody", {})).get("content", {}).get(JSON, {}).get("schema", {})
        return query, set(self._resolved(body).get("properties", ()))

    def answers(self, name: str) -> dict[int, dict[str, Any] | None]:
        """JSON schemas of a method's responses by HTTP status; None for a response without JSON.

        The schemas require no field, since the local GitHub sends only fields that the project reads. Fields must have
        GitHub's types, and fields that GitHub does not send are refused.
        """
        found: dict[int, dict[str, Any] | None] = {}
        for status, response in self.methods[name].operation["responses"].items():
            schema = self._resolved(response).get("content", {}).get(JSON, {}).get("schema")
            found[int(status)] = self._answer(schema) if schema else None
        return found

    def refusal(self) -> dict[str, Any]:
        """The JSON schema of error responses; those about single fields also hold a status, which GitHub omits."""
        kinds = [self._all["components"]["schemas"][name] for name in ("basic-error", "validation-error")]
        return self._answer({"type": "object", "properties": {**kinds[0]["properties"], **kinds[1]["properties"]}})

    def _answer(self, schema: dict[str, Any]) -> dict[str, Any]:
        used = self._components(schema).get("schemas", {})
        schemas = {name: _optional(each) for name, each in used.items()}
        schemas |= {f"{name}{OPEN}": _optional(each, closed=False) for name, each in used.items()}
        return _optional(schema) | {"components": {"schemas": schemas}}

    def _resolved(self, part: dict[str, Any]) -> dict[str, Any]:
        while "$ref" in part:
            kind, name = part["$ref"].split("/")[2:]
            part = self._all["components"][kind][name]
        return part

    def _components(self, used_by: Any) -> dict[str, Any]:
        """All components that `used_by` refers to, directly or indirectly."""
        found: dict[str, dict[str, Any]] = {}
        waiting = [used_by]
        while waiting:
            for reference in _references(waiting.pop()):
                kind, name = reference.split("/")[2:]
                if name not in found.setdefault(kind, {}):
                    found[kind][name] = self._all["components"][kind][name]
                    waiting.append(found[kind][name])
        return found


OPEN = "-open"  # follows the name of a schema that lets unknown fields pass: a part of `allOf`


def _references(description: Any) -> Iterator[str]:
    for part in _parts(description):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]


def _parts(value: Any) -> Iterator[dict[str, Any]]:
    """Every object in a JSON value."""
    waiting = [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            yield part
            waiting.extend(part.values())
        elif isinstance(part, list):
            waiting.extend(part)


def _patch(description: dict[str, Any]) -> None:
    """Rewrites parts that Prism does not support, and adds what the description has only in its text."""
    # "oneOf integer or string" refuses a number in a path, which is both. The project sends names of files.
    description["components"].get("parameters", {}).get("workflow-id", {})["schema"] = {"type": "string"}
    for verbs in description["paths"].values():
        for operation in verbs.values():
            operation.pop("servers", None)  # uploads have a separate host
            if operation["operationId"] == "repos/get-release-asset":
                # clients may request the file itself
                operation["responses"]["200"]["content"]["application/octet-stream"] = {"example": "a file"}
    for part in _parts(description):
        _patch_answer(part)
        _patch_example(part, description["components"].get("examples", {}))
        _patch_schema(part)


def _patch_answer(part: dict[str, Any]) -> None:
    if isinstance(headers := part.get("headers"), dict):
        headers.pop("Link", None)  # examples link to a next page at an address that does not exist
    if isinstance(content := part.get("content"), dict) and JSON in content:
        content.update(dict.fromkeys(ALSO_JSON, content[JSON]))


def _patch_example(part: dict[str, Any], examples: dict[str, Any]) -> None:
    # a referenced example has more fields than its value
    if isinstance(value := part.get("value"), dict) and str(value.get("$ref")).startswith("#/components/examples/"):
        part["value"] = examples[value["$ref"].rpartition("/")[2]]["value"]


def _patch_schema(part: dict[str, Any]) -> None:
    # Prism silently skips a whole body when its schema has `nullable` without `type`.
    if part.get("nullable") is True and "type" not in part and "oneOf" in part:
        part["oneOf"] = [*part["oneOf"], {"enum": [None]}]
        del part["nullable"]


def _optional(schema: dict[str, Any], closed: bool = True) -> dict[str, Any]:
    """Converts a schema of OpenAPI 3.0 to JSON Schema without required fields; `closed` refuses unknown fields."""
    if "$ref" in schema:
        return {"$ref": schema["$ref"] if closed else f"{schema['$ref']}{OPEN}"}
    found = {name: schema[name] for name in ("type", "enum") if name in schema}
    if "properties" in schema:
        found["properties"] = {name: _optional(each) for name, each in schema["properties"].items()}
        found["additionalProperties"] = not closed
    if "additionalProperties" in schema:
        more = schema["additionalProperties"]
        found["additionalProperties"] = _optional(more) if isinstance(more, dict) else more
    if "items" in schema:
        found["items"] = _optional(schema["items"])
    if "allOf" in schema:
        found["allOf"] = [_optional(part, closed=False) for part in schema["allOf"]]
    # without required fields several choices may match, so oneOf becomes anyOf
    if choices := [*schema.get("anyOf", ()), *schema.get("oneOf", ())]:
        found["anyOf"] = [_optional(choice) for choice in choices]
    if not schema.get("nullable"):
        return found
    if "type" not in found:
        return {"anyOf": [found, {"type": "null"}]}
    return found | {"type": [found["type"], "null"]} | ({"enum": [*found["enum"], None]} if "enum" in found else {})
