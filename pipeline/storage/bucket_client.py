"""The client of Cloud Storage's JSON API: credentials, retries, and errors that name the next step."""

import base64
import contextlib
import datetime
import email.utils
import functools
import json
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import BinaryIO, NamedTuple
from urllib.parse import quote

import google.auth
import google.auth.exceptions
import google_crc32c
import requests
import requests.adapters
from google.auth.exceptions import GoogleAuthError
from google.auth.transport.requests import Request

from pipeline import google_errors, retry
from pipeline.errors import ApiDisabled, ObjectNotFound, StorageError
from pipeline.storage.base import NO_HEADERS

HOST = "https://storage.googleapis.com"
THREADS = 32  # requests at the same time
SCOPES = ["https://www.googleapis.com/auth/cloud-platform"]

_CUT = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)
_TIMEOUT = (10, 60)  # seconds to connect, and between two chunks of a response


class Answer(NamedTuple):
    """A response. `again`: an earlier attempt failed, and may have done its work all the same."""

    status: int
    headers: requests.structures.CaseInsensitiveDict
    body: bytes
    again: bool

    def json(self) -> dict:
        return json.loads(self.body or b"{}")


class Written(NamedTuple):
    """An object as this process wrote it."""

    generation: str
    mark: str  # metadata that stays with the object when it is moved


@functools.cache
def _client(bucket: str, process: int) -> "Client":
    return Client(bucket)


def client(bucket: str) -> "Client":
    """Returns this process's client of a bucket, with one login and one pool of connections."""
    return _client(bucket, os.getpid())  # a forked process must not share a connection


class Login:
    """An access token, refreshed when it expires."""

    def __init__(self):
        self._lock = threading.Lock()
        self._credentials = None

    def token(self, refused: str = "") -> str:
        """Returns a token other than `refused`. Raises StorageError."""
        with self._lock, _login_errors():
            if self._credentials is None:
                self._credentials, _ = google.auth.default(scopes=SCOPES)
            if not self._credentials.valid or self._credentials.token == refused:
                for attempt in retry.attempts(retry.TOKEN, GoogleAuthError, when=_is_transient):
                    with attempt:
                        self._credentials.refresh(Request())
            return self._credentials.token

    def expiry(self) -> datetime.datetime | None:
        """Returns when the token expires, in UTC; None where unknown."""
        expiry = self._credentials.expiry
        return expiry and expiry.replace(tzinfo=datetime.timezone.utc)


def _is_transient(error: GoogleAuthError) -> bool:
    return isinstance(error, google.auth.exceptions.TransportError) or error.retryable


_LOG_IN = "Run `gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS to a valid file."
_RETRY = "Check the network and HTTPS_PROXY, then run it again: nothing was lost."


@contextlib.contextmanager
def _login_errors() -> Iterator[None]:
    """Converts errors of google-auth to StorageError."""
    try:
        yield
    except GoogleAuthError as error:
        raise google_errors.explain(error) from error


class Client:
    """The JSON API of one bucket. Names are full names of objects. Raises StorageError."""

    def __init__(self, bucket: str):
        self.bucket = bucket
        self.login = Login()
        self._objects = f"/storage/v1/b/{bucket}/o"

    @functools.cached_property
    def _session(self) -> requests.Session:
        session = requests.Session()
        # Proxies and certificates of the environment are read once rather than for each request; trust_env is off, so
        # that a netrc cannot replace the token either.
        session.proxies = requests.utils.get_environ_proxies(HOST)
        session.verify = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True
        session.trust_env = False
        session.mount(HOST, requests.adapters.HTTPAdapter(pool_connections=1, pool_maxsize=THREADS))
        return session

    def listing(self, prefix: str, fields: str = "items(name,size,generation)", **options: str) -> Iterator[dict]:
        """Yields the pages of a listing by prefix lazily, 1,000 names each."""
        parameters = {"prefix": prefix, "maxResults": "1000", "fields": f"{fields},nextPageToken"} | options
        while True:
            page = self.call("GET", self._objects, f"gs://{self.bucket}/{prefix}", parameters).json()
            yield page
            if not page.get("nextPageToken"):
                return
            parameters["pageToken"] = page["nextPageToken"]

    def items(self, prefix: str, fields: str = "items(name,size,generation)") -> Iterator[dict]:
        """Yields name, size and generation of each object with this prefix, also hidden ones, sorted by name."""
        return (item for page in self.listing(prefix, fields) for item in page.get("items", ()))

    def about(self, name: str) -> dict | None:
        """Returns `generation`, `updated`, `now` (the server's time, both datetime), `metadata`; None if missing."""
        fields = {"fields": "generation,updated,metadata"}
        answer = self.call("GET", self.path(name), self.display_name(name), fields, accept=(200, 404))
        if answer.status == 404:
            return None
        found = answer.json()
        updated = datetime.datetime.fromisoformat(found["updated"].replace("Z", "+00:00"))
        now = email.utils.parsedate_to_datetime(answer.headers["Date"])
        return {"metadata": {}} | found | {"updated": updated, "now": now}

    def read(self, name: str, last: int | None = None) -> tuple[bytes, str]:
        """Returns an object's bytes, or its last ones, and their generation. Raises ObjectNotFound."""
        headers = {} if last is None else {"Range": f"bytes=-{last}"}
        accept = (200, 206, 404, 416)
        answer = self.call("GET", self.path(name), self.display_name(name), {"alt": "media"}, headers, accept=accept)
        if answer.status == 404:
            raise ObjectNotFound(self.display_name(name))
        # 416: a range of an empty object.
        return b"" if answer.status == 416 else answer.body, answer.headers.get("x-goog-generation", "")

    def download(self, name: str, file: BinaryIO, generation: str = "", most: int | None = None) -> bool:
        """Appends an object to an open file; returns False for an object of more than `most` bytes.

        Resumes where the connection was cut. An object that is stored as gzip is written decompressed, as every client
        reads it, and begun again instead: https://cloud.google.com/storage/docs/transcoding. Raises ObjectNotFound.
        """
        begin, have, is_packed = file.tell(), 0, False
        with _unreachable(self.display_name(name)):
            for attempt in retry.attempts(retry.STORAGE, retry.Transient, *_CUT):
                parameters = {"alt": "media"} | ({"generation": generation} if generation else {})
                headers = {"Range": f"bytes={have}-"} if have and not is_packed else {}
                with attempt, self._ask("GET", self.path(name), parameters, headers, None, True) as answer:
                    if answer.status_code == 404 and not _has_no_bucket(answer):
                        raise ObjectNotFound(self.display_name(name))
                    _check(answer, (200, 206), self.display_name(name))
                    generation = answer.headers.get("x-goog-generation", generation)
                    is_packed = answer.headers.get("content-encoding") == "gzip"
                    have = have if answer.status_code == 206 else 0
                    file.seek(begin + have)
                    file.truncate()
                    # a few kilobytes of gzip may hold a thousand times as much
                    for piece in answer.iter_content(1 << 14 if is_packed else 1 << 20):
                        have += len(piece)
                        if most is not None and have > most:
                            return False
                        file.write(piece)
        return True

    def write(
        self,
        name: str,
        data: bytes | BinaryIO,
        generation: str | None = "0",
        begun_as: str = "",
        headers: Mapping[str, str] = NO_HEADERS,
    ) -> Written | None:
        """Writes a whole object in place of `generation`: "0" for none, None for any. Returns None for another one.

        An open file is streamed from its current position. A write whose answer was lost is recognized by its mark;
        `begun_as` is the mark of a write that another client began.
        """
        mark = begun_as or os.urandom(12).hex()
        body = _Upload(name, data, mark, headers)
        parameters = {"uploadType": "multipart", "fields": "generation"}
        if generation is not None:
            parameters["ifGenerationMatch"] = generation
        answer = self.call(
            "POST",
            f"/upload{self._objects}",
            self.display_name(name),
            parameters,
            {"Content-Type": f"multipart/related; boundary={body.boundary}"},
            body,
            accept=(200, 412),
        )
        if answer.status == 200:
            return Written(answer.json()["generation"], mark)
        return self.as_written(mark, name) if answer.again or begun_as else None

    def as_written(self, mark: str, name: str) -> Written | None:
        """Returns the object if it was written with this mark, also under an earlier name; otherwise None."""
        there = self.about(name)
        return Written(there["generation"], mark) if there and there["metadata"].get(MARK) == mark else None

    def delete(self, name: str, generation: str | None = None) -> bool:
        """Deletes an object; returns False for another generation. A missing object is no error."""
        condition = {} if generation is None else {"ifGenerationMatch": generation}
        answer = self.call("DELETE", self.path(name), self.display_name(name), condition, accept=(204, 404, 412))
        return answer.status != 412

    def move(self, name: str, generation: str, to: str) -> Answer:
        """Moves an object atomically: 200; 404 if it is missing, 412 for another generation or a taken name."""
        path, condition = moving(self.bucket, name, generation, to)
        return self.call("POST", path, self.display_name(name), condition, accept=(200, 404, 412))

    def call(
        self,
        method: str,
        path: str,
        display_name: str,
        parameters: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
        body: "bytes | _Upload | None" = None,
        accept: Sequence[int] = (200,),
    ) -> Answer:
        """Sends a request, repeated by retry.STORAGE. Raises StorageError unless `accept` has the status."""
        with _unreachable(display_name):
            for attempt in retry.attempts(retry.STORAGE, retry.Transient, *_CUT):
                with attempt:
                    found = self._ask(method, path, parameters, headers, body, False)
                    _check(found, accept, display_name)
        return Answer(found.status_code, found.headers, found.content, attempt.retry_state.attempt_number > 1)

    def _ask(self, method, path, parameters, headers, body, stream: bool) -> requests.Response:
        """Sends a request once; again with a new token when the first one is refused."""
        token = self.login.token()
        for last in (False, True):
            found = self._session.request(
                method,
                HOST + path,
                params=parameters,
                headers={"Authorization": f"Bearer {token}"} | (headers or {}),
                data=body.begin() if isinstance(body, _Upload) else body,
                timeout=_TIMEOUT,
                stream=stream,
                allow_redirects=False,
            )
            if found.status_code != 401 or last:
                return found
            found.close()
            token = self.login.token(refused=token)

    def path(self, name: str) -> str:
        """Returns an object's path in the JSON API."""
        return f"{self._objects}/{_quoted(name)}"

    def display_name(self, name: str) -> str:
        """Returns an object's URI, for errors."""
        return f"gs://{self.bucket}/{name}"


MARK = "written-as"  # metadata of an object: distinguishes this write from those of other clients


def moving(bucket: str, name: str, generation: str, to: str) -> tuple[str, dict[str, str]]:
    """Returns path and parameters of a move of this generation to a free name."""
    path = f"/storage/v1/b/{bucket}/o/{_quoted(name)}/moveTo/o/{_quoted(to)}"
    return path, {"ifSourceGenerationMatch": generation, "ifGenerationMatch": "0", "fields": "generation"}


def _quoted(name: str) -> str:
    # `quote` is fastest for its default safe characters.
    return quote(name).replace("/", "%2F")


class _Upload:
    """The multipart body of an upload, metadata and content, which can be sent repeatedly."""

    boundary = "spanloop-4f1c8e0b9d"

    def __init__(self, name: str, data: bytes | BinaryIO, mark: str, headers: Mapping[str, str]):
        self._data = data
        self._from = 0 if isinstance(data, bytes) else data.tell()
        # The service verifies the checksum.
        about = {"name": name, "metadata": {MARK: mark}, "crc32c": self._checksum()}
        if "Cache-Control" in headers:
            about["cacheControl"] = headers["Cache-Control"]
        kind = headers.get("Content-Type", "application/octet-stream")
        self._head = (
            f"--{self.boundary}\r\nContent-Type: application/json\r\n\r\n{json.dumps(about)}\r\n"
            f"--{self.boundary}\r\nContent-Type: {kind}\r\n\r\n"
        ).encode()
        self._tail = f"\r\n--{self.boundary}--\r\n".encode()

    def begin(self) -> "bytes | _Pieces":
        if isinstance(self._data, bytes):
            return b"".join((self._head, self._data, self._tail))
        self._data.seek(self._from)
        size = os.fstat(self._data.fileno()).st_size - self._from
        return _Pieces([self._head, self._data, self._tail], len(self._head) + size + len(self._tail))

    def _checksum(self) -> str:
        checksum = google_crc32c.Checksum()
        if isinstance(self._data, bytes):
            checksum.update(self._data)
        else:
            while piece := self._data.read(1 << 20):
                checksum.update(piece)
        return base64.b64encode(checksum.digest()).decode()


class _Pieces:
    """A body of `len` bytes that `requests` streams like a file."""

    def __init__(self, parts: list[bytes | BinaryIO], size: int):
        self.len = size
        self._parts = parts

    def __iter__(self):  # marks it as a stream for `requests`
        return iter(lambda: self.read(0), b"")

    def read(self, most: int) -> bytes:
        while self._parts:
            if isinstance(self._parts[0], bytes):
                return self._parts.pop(0)
            if piece := self._parts[0].read(1 << 18):
                return piece
            self._parts.pop(0)
        return b""


@contextlib.contextmanager
def _unreachable(display_name: str) -> Iterator[None]:
    """Converts what retry.STORAGE has given up to StorageError."""
    try:
        yield
    except (retry.Transient, *_CUT) as error:
        raise google_errors.explain(error) or unanswered(display_name, error) from error


def unanswered(display_name: str, reason: object) -> StorageError:
    """Returns the error of a call that failed for too long."""
    return StorageError(display_name, f"Cloud Storage does not answer ({_short(reason)})", _RETRY)


def _check(answer: requests.Response, accept: Sequence[int], display_name: str) -> None:
    """Raises retry.Transient for a status that may pass, StorageError for others than those of `accept`."""
    status = answer.status_code
    if status in retry.STORAGE.statuses:
        raise retry.Transient(f"status {status}", retry.parse_retry_after(answer.headers.get("Retry-After")))
    if status not in accept or _has_no_bucket(answer):
        raise refusal(display_name, status, answer.content)


def _has_no_bucket(found: requests.Response) -> bool:
    return found.status_code == 404 and b"bucket does not exist" in found.content


def refusal(display_name: str, status: int, body: bytes) -> StorageError:
    """Returns the error of a status that stays the same when the call is repeated."""
    if api := google_errors.disabled_api(reason(body)):
        return ApiDisabled(api)
    if status == 401:
        remedy = _LOG_IN
    elif status == 403 and (refused := _kept_by(body)):
        remedy = f"{refused} keeps it. Use a bucket without, or see docs/operations.md#rules-of-the-bucket."
    elif status == 403:
        remedy = "Grant the account roles/storage.objectUser on the bucket: docs/google-cloud.md."
    elif status == 404:
        remedy = "Create the bucket, or set WORKSPACE to one that exists: docs/google-cloud.md."
    else:
        remedy = "Fix it, then run it again: nothing was lost."
    return StorageError(display_name, reason(body) or f"status {status}", remedy)


def _kept_by(body: bytes) -> str:
    """Returns what forbids to delete or replace an object, "" where that is not the reason of a refusal.

    https://cloud.google.com/storage/docs/json_api/v1/status-codes#403-forbidden
    """
    rules = {b"retentionPolicyNotMet": "The bucket's retention policy", b"objectUnderActiveHold": "A hold"}
    return next((rule for code, rule in rules.items() if code in body), "")


def reason(body: bytes) -> str:
    """Returns the message of Google's JSON error, in one line; "" for another body."""
    try:
        return " ".join(json.loads(body)["error"]["message"].split())
    except (ValueError, KeyError, TypeError):
        return ""


def _short(why: object) -> str:
    """Returns the last words of a library's message, which have its cause."""
    words = " ".join(str(why).split())
    return (words if len(words) <= 240 else words[-240:].partition(" ")[2]) or type(why).__name__
