"""The batching worker of a model: requests wait in a bounded queue, and are computed together."""

import asyncio
import collections
import contextlib
import math
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from pipeline.config import Config
from pipeline.errors import ModelFailed
from pipeline.progress import Log
from pipeline.serving.server.metrics import Metrics
from pipeline.serving.server.model_client import ModelProcess
from pipeline.serving.server.model_process import AHEAD
from pipeline.serving.server.protocol import Input, Instances, Refusal

RESTART_SECONDS = 1.0  # between the end of a model's process and the next one's start


@dataclass
class _Waiting:
    """A request in the queue."""

    instances: Instances
    answer: "asyncio.Future[list[bytes]]"
    since: float = field(default_factory=time.monotonic)


@dataclass
class _Batch:
    """Requests that the process computes together."""

    requests: list[_Waiting]
    sent: float = field(default_factory=time.monotonic)

    @property
    def rows(self) -> int:
        return sum(waiting.instances.count for waiting in self.requests)


class Worker:
    """One model: its process, the queue before it, and the tasks that move batches to and fro."""

    def __init__(self, folder: str, tag: str, config: Config, metrics: Metrics, log: Log):
        self.tag, self._config, self._metrics, self._log = tag, config, metrics, log
        self._process = ModelProcess(folder, tag, config.serving_batch)
        self._queue: collections.deque[_Waiting] = collections.deque()
        self._sent: collections.deque[_Batch] = collections.deque()  # what the process computes
        self._changed = asyncio.Event()  # set when a request or an answer has come
        self._rows = 0  # of all requests in the queue
        self._since = 0.0  # when the process has answered last, or was sent a batch while it was idle
        self._pace = 0.0  # seconds a row, a moving average
        self._tasks: list[asyncio.Task] = []
        self.ready = False  # False before the warm-up, and while a process that ended is started again

    @property
    def inputs(self) -> dict[str, Input]:
        return self._process.inputs

    @property
    def waiting(self) -> int:
        """Returns the number of instances in the queue."""
        return self._rows

    async def start(self) -> None:
        """Loads and warms the model. Raises ModelFailed."""
        await self._process.start(self._log)
        self.ready = True
        self._tasks = [asyncio.create_task(task) for task in (self._send(), self._receive(), self._watch())]

    def check(self, instances: int = 1) -> None:
        """Raises Refusal while so many instances cannot wait for the model, however large the queue is."""
        if not self.ready:
            raise Refusal(503, f"The model {self.tag} is not loaded yet.", 1)
        # one request that is larger than the queue may wait alone
        if self._queue and self._rows + instances > self._config.serving_queue:
            raise Refusal(429, f"{self._rows:,} instances wait for the model {self.tag} already.", self._retry_after())

    async def predict(self, instances: Instances) -> list[bytes]:
        """Returns the predictions as JSON, one an instance. Raises Refusal."""
        self.check(instances.count)
        waiting = _Waiting(instances, asyncio.get_running_loop().create_future())
        self._queue.append(waiting)
        self._rows += instances.count
        self._changed.set()
        return await waiting.answer

    async def drain(self) -> None:
        """Waits until all requests are answered."""
        while self._queue or self._sent:
            await asyncio.sleep(0.01)

    async def stop(self) -> None:
        """Ends the process; requests that still wait are refused."""
        self.ready = False
        if self._tasks:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await self._process.stop()
        self._refuse_all("is being unloaded")

    async def _send(self) -> None:
        """Sends batches: one while the model is idle, and one ahead once that is full, so that it never idles."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            if self._config.serving_batch_milliseconds and not self._sent:
                await self._fill()
            while (
                self.ready
                and self._queue
                and (not self._sent or (len(self._sent) < AHEAD and self._rows >= self._config.serving_batch))
            ):
                if requests := self._take():
                    batch = _Batch(requests)
                    if not self._sent:
                        self._since = batch.sent
                    self._sent.append(batch)
                    await self._process.send([waiting.instances for waiting in requests])

    async def _fill(self) -> None:
        """Waits for a whole batch, at most as long as settings say since the first request came."""
        until = time.monotonic() + self._config.serving_batch_milliseconds / 1e3
        while 0 < self._rows < self._config.serving_batch and (left := until - time.monotonic()) > 0:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._changed.wait(), left)
            self._changed.clear()

    def _take(self) -> list[_Waiting]:
        """Takes requests of one form from the queue, as many as a batch holds; drops those whose client has left."""
        batch, rows, pixels = [], 0, 0
        oldest = time.monotonic() - self._config.serving_seconds
        while self._queue:
            first = self._queue[0].instances
            if batch and (
                rows + first.count > self._config.serving_batch
                or pixels + first.pixels > self._config.serving_megapixels * 1e6
                or first.form != batch[0].instances.form
            ):
                break
            waiting = self._queue.popleft()
            self._rows -= first.count
            if waiting.since < oldest:
                self._refuse([waiting], "has too much to do")
            elif not waiting.answer.done():
                batch.append(waiting)
                rows, pixels = rows + first.count, pixels + first.pixels
        return batch

    async def _receive(self) -> None:
        """Hands the answers to batches out, in the order in which they were sent; replaces a process that fails."""
        while True:
            try:
                answers = await self._process.receive()
                self._answer(self._sent[0], answers)
                self._sent.popleft()
            except (ModelFailed, ValueError, IndexError) as failure:  # the process is not trusted
                await self._restart(failure)
            self._changed.set()

    async def _watch(self) -> None:
        """Ends a process that takes too long for a batch; `receive` then raises ModelFailed."""
        while True:
            await asyncio.sleep(self._config.serving_seconds / 4)
            if self._sent and self.ready and time.monotonic() - self._since > self._config.serving_seconds:
                self._log(f"{self.tag} takes more than {self._config.serving_seconds:g} seconds for a batch.")
                self._process.kill()

    def _answer(self, batch: _Batch, answers: "list[list[bytes] | Refusal]") -> None:
        for waiting, answer in zip(batch.requests, answers, strict=True):
            if waiting.answer.done():
                continue
            if isinstance(answer, Refusal):
                waiting.answer.set_exception(answer)
            else:
                waiting.answer.set_result(answer)
        now = time.monotonic()
        # the process computes two batches at a time, so what counts is the time between answers
        pace = (now - self._since) / batch.rows
        self._pace = 0.9 * self._pace + 0.1 * pace if self._pace else pace
        self._since = now
        self._metrics.batch(self.tag, batch.rows, now - batch.sent)

    async def _restart(self, failure: Exception) -> None:
        self.ready = False
        self._log(str(failure))
        while not self.ready:
            await self._process.stop()
            self._refuse_all("has failed and is started again")
            await asyncio.sleep(RESTART_SECONDS)
            try:
                await self._process.start(self._log)
            except ModelFailed as again:
                self._log(str(again))
            else:
                self.ready = True
        self._metrics.restarts.labels(self.tag).inc()

    def _refuse_all(self, why: str) -> None:
        self._refuse([waiting for batch in self._sent for waiting in batch.requests], why)
        self._refuse(self._queue, why)
        self._sent.clear()
        self._queue.clear()
        self._rows = 0

    def _refuse(self, batch: Iterable[_Waiting], why: str) -> None:
        for waiting in batch:
            if not waiting.answer.done():
                waiting.answer.set_exception(Refusal(503, f"The model {self.tag} {why}.", 2))

    def _retry_after(self) -> int:
        """Returns the seconds until what waits now is computed."""
        return min(60, max(1, math.ceil(self._rows * self._pace)))
