"""The cloud model behind HTTP: the `:predict` protocol of Vertex AI and TensorFlow Serving.

https://www.tensorflow.org/tfx/serving/api_rest#predict_api: rows in `instances`, binary values as {"b64": ...}.
"""

import asyncio
import base64
import json
import math
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import Any

import aiohttp

from apps.client.answers import Answer, Unanswered
from apps.client.pictures import for_server

LARGEST_ANSWER = 16 << 20  # bytes
FIRST_WAIT, LONGEST_WAIT = 0.1, 2.0  # seconds between two tries within one budget
OF_THE_PICTURE = {400, 413, 415, 422}  # refusals that are about this picture, and not about the next one
TEMPORARY = {429, 500, 502, 503, 504}


class Server:
    """A server of models at `url`: its base, as `python -m ci serve` prints it, or a whole address with `:predict`.

    `budget` are the seconds within which an answer has to be there, all tries together.
    """

    def __init__(self, url: str, task: str, budget: float):
        self.url = url if url.endswith(":predict") else f"{url.rstrip('/')}/v1/models/{task}:predict"
        self._budget = budget
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="requests", daemon=True)
        self._thread.start()
        self._session = self._run(self._open()).result()

    def ask(self, picture: bytes) -> "Future[Answer]":
        """Begins to ask about a PNG or JPEG. The result comes within the budget, or is Unanswered."""
        return self._run(self._ask(for_server(picture)))

    def close(self) -> None:
        self._run(self._session.close()).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, coroutine: Any) -> Future:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    async def _open(self) -> aiohttp.ClientSession:
        # the proxy of the environment counts, as for every other client
        return aiohttp.ClientSession(trust_env=True, cookie_jar=aiohttp.DummyCookieJar())

    async def _ask(self, picture: bytes) -> Answer:
        body = json.dumps({"instances": [{"image": {"b64": base64.b64encode(picture).decode()}}]}).encode()
        began, wait, sent = time.monotonic(), FIRST_WAIT, 0
        while True:
            left = max(self._budget - (time.monotonic() - began), 0.01)  # to aiohttp, 0 is no limit
            sent += len(body)
            try:
                answer = await self._post(body, left)
                return Answer(*answer, seconds=time.monotonic() - began, sent=sent)
            except _Failed as failure:
                spent = time.monotonic() - began
                wait = max(wait, failure.retry_after or 0.0)
                if not failure.temporary or spent + wait >= self._budget:
                    raise Unanswered(
                        failure.why, rests=failure.rests, retry_after=failure.retry_after, seconds=spent, sent=sent
                    ) from None
            await asyncio.sleep(wait)
            wait = min(2 * wait, LONGEST_WAIT)

    async def _post(self, body: bytes, seconds: float) -> tuple[str, float, Mapping[str, float], str]:
        """Returns label, confidence, probabilities and the model's name. Raises _Failed."""
        limit = aiohttp.ClientTimeout(total=seconds)  # of everything, also of a response that trickles in
        headers = {"Content-Type": "application/json"}
        try:
            async with self._session.post(
                self.url, data=body, headers=headers, timeout=limit, allow_redirects=False
            ) as response:
                content = await response.content.read(LARGEST_ANSWER + 1)
                while not response.content.at_eof() and len(content) <= LARGEST_ANSWER:
                    content += await response.content.read(LARGEST_ANSWER + 1 - len(content))
                if response.status != 200:
                    raise _refused(response.status, response.headers.get("Retry-After"), content)
                return answer_of(content, response.headers)
        except asyncio.TimeoutError:
            raise _Failed(f"no answer within {self._budget:g} s") from None
        except (aiohttp.ClientError, OSError) as error:
            raise _Failed(f"{self.url} cannot be reached: {error or type(error).__name__}", temporary=True) from None


class _Failed(Exception):
    """A try that brought no answer. `temporary`: another one may."""

    def __init__(self, why: str, *, temporary: bool = False, rests: bool = True, retry_after: float | None = None):
        super().__init__(why)
        self.why, self.temporary, self.rests, self.retry_after = why, temporary, rests, retry_after


def _refused(status: int, retry_after: str | None, content: bytes) -> _Failed:
    shown = " ".join(content[:200].decode("utf-8", "replace").split())
    return _Failed(
        f"the server answers {status}: {shown}" if shown else f"the server answers {status}",
        temporary=status in TEMPORARY,
        rests=status not in OF_THE_PICTURE,
        retry_after=float(retry_after) if retry_after and retry_after.isdecimal() else None,
    )


def answer_of(content: bytes, headers: Mapping[str, str]) -> tuple[str, float, Mapping[str, float], str]:
    """Reads the response to a request for one picture. Raises _Failed for anything else than one prediction."""
    if len(content) > LARGEST_ANSWER:
        raise _Failed(f"its answer has more than {LARGEST_ANSWER:,} bytes")
    try:
        given = json.loads(content)
        (prediction,) = given["predictions"]
        named = given.get("modelDisplayName") or headers.get("X-Model-Release") or ""
        return (*read_prediction(prediction), str(named))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _Failed(f"its answer cannot be read ({error!r:.200})") from None


def read_prediction(prediction: Mapping[str, Any]) -> tuple[str, float, Mapping[str, float]]:
    """Returns label, confidence and probabilities of a model's prediction. Raises ValueError, KeyError or TypeError."""
    label, confidence = prediction["label"], float(prediction["confidence"])
    if not isinstance(label, str) or not 0 <= confidence <= 1.001:
        raise ValueError(f"label {label!r:.50} with confidence {confidence!r:.20}")
    labels: Sequence[str] = prediction.get("all_classes") or ()
    shares: Sequence[float] = prediction.get("probabilities") or ()
    probabilities = {str(of): float(share) for of, share in zip(labels, shares, strict=True)} if labels else {}
    if not all(map(math.isfinite, probabilities.values())):
        raise ValueError("a probability is no number")
    return label, confidence, probabilities
