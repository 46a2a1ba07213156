"""GitHub's own description of its API: its methods, the part of it that is in use, and what an answer may hold."""

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

VERBS = ("get", "put", "post", "delete", "patch")
HOSTS = re.compile(r"https://(api|uploads)\.github\.com")
JSON = "application/json"
# GitHub's name for its JSON, and what PyGithub asks for since a method was on trial: GitHub takes both.
ALSO_JSON = ("application/vnd.github+json", "application/vnd.github.ant-man-preview+json")


class Method(NamedTuple):
    """One method: "POST", "/repos/{owner}/{repo}/releases", and all that is told of it."""

    verb: str
    path: str
    told: dict[str, Any]

    @property
    def shape(self) -> tuple[str, str]:
        """Verb and path without the names of the path's parts, which everybody chooses for himself."""
        return shape(self.verb, self.path)


def shape(verb: str, path: str) -> tuple[str, str]:
    return verb.upper(), re.sub(r"\{\w+\}", "{}", path)


class Description:
    """What GitHub says of its API (OpenAPI 3.0), in a file of 13 MB."""

    def __init__(self, file: Path):
        self._all = json.loads(file.read_text(encoding="utf-8"))
        # of a file that did not arrive, as is told of uploads in words
        self._all["components"]["schemas"]["release-asset"]["properties"]["state"]["enum"].append("starter")
        self.methods = {
            told["operationId"]: Method(verb.upper(), path, told)
            for path, verbs in self._all["paths"].items()
            for verb, told in verbs.items()
            if verb in VERBS
        }

    def trimmed(self, names: Iterable[str], address: str) -> dict[str, Any]:
        """The description of some methods only, as of a server at `address`.

        All addresses in it lead there, so that a client which follows them stays there. What a server could not do as
        it is written is written otherwise.
        """
        paths: dict[str, dict[str, Any]] = {}
        for name in names:
            verb, path, told = self.methods[name]
            paths.setdefault(path, {})[verb.lower()] = told
        rest = {name: value for name, value in self._all.items() if name not in ("paths", "components", "x-webhooks")}
        whole = {**rest, "paths": paths, "components": self._components(paths)}
        found = json.loads(HOSTS.sub(address, json.dumps(whole)))
        _patch(found)
        return found

    def fields(self, name: str) -> tuple[set[str], set[str]]:
        """Which parameters of the query and which fields of a JSON body a method has."""
        told = self.methods[name].told
        parameters = [self._resolved(parameter) for parameter in told.get("parameters", ())]
        query = {parameter["name"] for parameter in parameters if parameter["in"] == "query"}
        body = self._resolved(told.get("requestBody", {})).get("content", {}).get(JSON, {}).get("schema", {})
        return query, set(self._resolved(body).get("properties", ()))

    def answers(self, name: str) -> dict[int, dict[str, Any] | None]:
        """By HTTP status the JSON schema of what a method answers, None where that is nothing or no JSON.

        What GitHub always sends may be missing, since a stand-in sends only what somebody reads. What is there has
        GitHub's type, and what GitHub never sends is not there.
        """
        found: dict[int, dict[str, Any] | None] = {}
        for status, told in self.methods[name].told["responses"].items():
            schema = self._resolved(told).get("content", {}).get(JSON, {}).get("schema")
            found[int(status)] = self._answer(schema) if schema else None
        return found

    def refusal(self) -> dict[str, Any]:
        """The JSON schema of all refusals: those of single fields tell their status too, which is not described."""
        kinds = [self._all["components"]["schemas"][name] for name in ("basic-error", "validation-error")]
        return self._answer({"type": "object", "properties": {**kinds[0]["properties"], **kinds[1]["properties"]}})

    def _answer(self, schema: dict[str, Any]) -> dict[str, Any]:
        used = self._components(schema).get("schemas", {})
        return _sparing(schema) | {"components": {"schemas": {name: _sparing(told) for name, told in used.items()}}}

    def _resolved(self, told: dict[str, Any]) -> dict[str, Any]:
        while "$ref" in told:
            kind, name = told["$ref"].split("/")[2:]
            told = self._all["components"][kind][name]
        return told

    def _components(self, used_by: Any) -> dict[str, Any]:
        """Everything that is referred to, directly or not."""
        found: dict[str, dict[str, Any]] = {}
        waiting = [used_by]
        while waiting:
            for reference in _references(waiting.pop()):
                kind, name = reference.split("/")[2:]
                if name not in found.setdefault(kind, {}):
                    found[kind][name] = self._all["components"][kind][name]
                    waiting.append(found[kind][name])
        return found


def _references(told: Any) -> Iterator[str]:
    for part in _parts(told):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]


def _parts(told: Any) -> Iterator[dict[str, Any]]:
    """Every object in what was read from JSON."""
    waiting = [told]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            yield part
            waiting.extend(part.values())
        elif isinstance(part, list):
            waiting.extend(part)


def _patch(description: dict[str, Any]) -> None:
    """Writes otherwise what Prism does not understand, or what GitHub tells only in words."""
    # "integer or string, one of both": a number in a path is both. A file's name is what is sent.
    description["components"].get("parameters", {}).get("workflow-id", {})["schema"] = {"type": "string"}
    for verbs in description["paths"].values():
        for told in verbs.values():
            told.pop("servers", None)  # uploads have a host of their own
            if told["operationId"] == "repos/get-release-asset":
                # the file itself may be asked for
                told["responses"]["200"]["content"]["application/octet-stream"] = {"example": "a file"}
    for part in _parts(description):
        _patch_answer(part)
        _patch_example(part, description["components"].get("examples", {}))
        _patch_schema(part)


def _patch_answer(part: dict[str, Any]) -> None:
    if isinstance(headers := part.get("headers"), dict):
        headers.pop("Link", None)  # each page of the examples has a next one, at an address that nothing has
    if isinstance(content := part.get("content"), dict) and JSON in content:
        content.update(dict.fromkeys(ALSO_JSON, content[JSON]))


def _patch_example(part: dict[str, Any], examples: dict[str, Any]) -> None:
    # an example that is referred to is more than its value
    if isinstance(value := part.get("value"), dict) and str(value.get("$ref")).startswith("#/components/examples/"):
        part["value"] = examples[value["$ref"].rpartition("/")[2]]["value"]


def _patch_schema(part: dict[str, Any]) -> None:
    # Prism passes over a whole body without a word when its schema has `nullable` beside no `type`.
    if part.get("nullable") is True and "type" not in part and "oneOf" in part:
        part["oneOf"] = [*part["oneOf"], {"enum": [None]}]
        del part["nullable"]


def _sparing(schema: dict[str, Any], closed: bool = True) -> dict[str, Any]:
    """A schema of OpenAPI 3.0 as one of JSON Schema: nothing is required, and nothing more may be there if `closed`."""
    if "$ref" in schema:
        return {"$ref": schema["$ref"]}
    found = {name: schema[name] for name in ("type", "enum") if name in schema}
    if "properties" in schema:
        found["properties"] = {name: _sparing(told) for name, told in schema["properties"].items()}
        found["additionalProperties"] = not closed
    if "additionalProperties" in schema:
        more = schema["additionalProperties"]
        found["additionalProperties"] = _sparing(more) if isinstance(more, dict) else more
    if "items" in schema:
        found["items"] = _sparing(schema["items"])
    if "allOf" in schema:
        found["allOf"] = [_sparing(part, closed=False) for part in schema["allOf"]]
    # without what is required several may fit, of which one has to
    if choices := [*schema.get("anyOf", ()), *schema.get("oneOf", ())]:
        found["anyOf"] = [_sparing(choice) for choice in choices]
    if not schema.get("nullable"):
        return found
    if "type" not in found:
        return {"anyOf": [found, {"type": "null"}]}
    return found | {"type": [found["type"], "null"]} | ({"enum": [*found["enum"], None]} if "enum" in found else {})
