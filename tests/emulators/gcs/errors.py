"""Cloud Storage's error responses in the formats of its JSON API and XML API."""

import json
from xml.sax.saxutils import escape

from grpc import StatusCode

from tests.emulators.services import JSON, Refused, Response

# https://cloud.google.com/storage/docs/json_api/v1/status-codes and .../docs/xml-api/reference-status
_REASONS = {
    304: ("notModified", "NotModified"),
    400: ("invalid", "InvalidArgument"),
    401: ("authError", "AuthenticationRequired"),
    403: ("forbidden", "AccessDenied"),
    404: ("notFound", "NoSuchKey"),
    405: ("methodNotAllowed", "MethodNotAllowed"),
    409: ("conflict", "BucketAlreadyOwnedByYou"),
    412: ("conditionNotMet", "PreconditionFailed"),
    416: ("requestedRangeNotSatisfiable", "InvalidRange"),
    499: ("cancelled", "Cancelled"),
}


class StorageError(Refused):
    """An error response with Cloud Storage's HTTP status."""

    def __init__(
        self,
        status: int,
        message: str,
        headers: dict[str, str] | None = None,
        xml_code: str = "",
        reason: str = "",
    ):
        super().__init__(StatusCode.UNKNOWN, message)
        self._status = status
        self._headers = headers or {}
        self._reason, code = _REASONS.get(status, ("invalid", "InvalidArgument"))
        self._reason = reason or self._reason
        self._xml_code = xml_code or code

    @property
    def status(self) -> int:
        return self._status

    def response(self) -> Response:
        if self.status == 304:
            return Response(304)
        error = {"message": self.message, "domain": "global", "reason": self._reason}
        body = {"error": {"code": self.status, "message": self.message, "errors": [error]}}
        return Response(self.status, json.dumps(body).encode(), {**JSON, **self._headers})

    def xml(self) -> Response:
        if self.status == 304:
            return Response(304)
        text = f"<Code>{self._xml_code}</Code><Message>{escape(self.message)}</Message>"
        return xml_response(f"<Error>{text}</Error>", self.status, self._headers)


def xml_response(text: str, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A response of the XML API."""
    body = f"<?xml version='1.0' encoding='UTF-8'?>{text}".encode()
    return Response(status, body, {"Content-Type": "application/xml; charset=UTF-8", **(headers or {})})


def bad_request(message: str) -> StorageError:
    return StorageError(400, message)


def kept(message: str, reason: str) -> StorageError:
    """An object that must not be deleted or overwritten: https://cloud.google.com/storage/docs/json_api/v1/status-codes"""
    return StorageError(403, message, xml_code=reason[0].upper() + reason[1:], reason=reason)


def no_bucket() -> StorageError:
    return StorageError(404, "The specified bucket does not exist.", xml_code="NoSuchBucket")


def no_object(bucket: str, name: str) -> StorageError:
    return StorageError(404, f"No such object: {bucket}/{name}")


def condition_not_met() -> StorageError:
    return StorageError(412, "At least one of the pre-conditions you specified did not hold.")


def not_modified() -> StorageError:
    return StorageError(304, "Not Modified")
