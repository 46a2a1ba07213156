"""The batching worker of a model: requests wait in a bounded queue, and are computed together."""

import asyncio
import collections
import contextlib
import math
import time
from dataclasses import dataclass, field

from pipeline.config import Config
from pipeline.errors import ModelFailed
from pipeline.progress import Log
from pipeline.serving.server.metrics import Metrics
from pipeline.serving.server.model_client import ModelProcess
from pipeline.serving.server.protocol import Input, Instances, Refusal

RESTART_SECONDS = 1.0  # between the end of a model's process and the next one's start


@dataclass
class _Waiting:
    """A request in the queue."""

    instances: Instances
    answer: "asyncio.Future[list[bytes]]"
    since: float = field(default_factory=time.monotonic)


class Worker:
    """One model: its process, the queue before it, and the task that moves batches from one to the other."""

    def __init__(self, folder: str, tag: str, config: Config, metrics: Metrics, log: Log):
        self.tag, self._config, self._metrics, self._log = tag, config, metrics, log
        self._process = ModelProcess(folder, tag, config.serving_batch)
        self._queue: collections.deque[_Waiting] = collections.deque()
        self._arrived = asyncio.Event()
        self._rows = 0  # of all requests in the queue
        self._computing = 0  # requests
        self._rate = 0.0  # rows a second, a moving average
        self._task: asyncio.Task | None = None
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
        self._task = asyncio.create_task(self._work())

    async def predict(self, instances: Instances) -> list[bytes]:
        """Returns the predictions as JSON, one an instance. Raises Refusal."""
        if not self.ready:
            raise Refusal(503, f"The model {self.tag} is not loaded yet.", 1)
        # one request that is larger than the queue may wait alone
        if self._queue and self._rows + instances.count > self._config.serving_queue:
            raise Refusal(429, f"{self._rows:,} instances wait for the model {self.tag} already.", self._retry_after())
        waiting = _Waiting(instances, asyncio.get_running_loop().create_future())
        self._queue.append(waiting)
        self._rows += instances.count
        self._arrived.set()
        try:
            return await asyncio.wait_for(waiting.answer, self._config.serving_seconds)
        except asyncio.TimeoutError:
            raise Refusal(503, f"No answer of the model {self.tag} in time.", self._retry_after()) from None

    async def drain(self) -> None:
        """Waits until all requests are answered."""
        while self._queue or self._computing:
            await asyncio.sleep(0.01)

    async def stop(self) -> None:
        """Ends the process; requests that still wait are refused."""
        self.ready = False
        if self._task:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            await self._process.stop()
        self._refuse(self._queue, "is being unloaded")
        self._queue.clear()

    async def _work(self) -> None:
        while True:
            await self._arrived.wait()
            if self._config.serving_batch_milliseconds:
                await self._fill()
            batch = self._take()
            if not batch:
                self._arrived.clear()
                continue
            await self._compute(batch)

    async def _fill(self) -> None:
        """Waits for a whole batch, at most as long as settings say since the first request came."""
        until = time.monotonic() + self._config.serving_batch_milliseconds / 1e3
        while 0 < self._rows < self._config.serving_batch and (left := until - time.monotonic()) > 0:
            self._arrived.clear()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._arrived.wait(), left)
        self._arrived.set()

    def _take(self) -> list[_Waiting]:
        """Takes requests of one form from the queue, as many as a batch holds; drops those whose client has left."""
        batch, rows, pixels = [], 0, 0
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
            if not waiting.answer.done():
                batch.append(waiting)
                rows, pixels = rows + first.count, pixels + first.pixels
        return batch

    async def _compute(self, batch: list[_Waiting]) -> None:
        self._computing, began = len(batch), time.monotonic()
        try:
            run = self._process.run([waiting.instances for waiting in batch])
            answers = await asyncio.wait_for(run, self._config.serving_seconds)
        except (ModelFailed, asyncio.TimeoutError) as failure:
            self._refuse(batch, "has failed and is started again")
            await self._restart(failure)
        else:
            for waiting, answer in zip(batch, answers, strict=True):
                if not waiting.answer.done():
                    if isinstance(answer, Refusal):
                        waiting.answer.set_exception(answer)
                    else:
                        waiting.answer.set_result(answer)
            rows, seconds = sum(waiting.instances.count for waiting in batch), time.monotonic() - began
            self._rate = rows / seconds if not self._rate else 0.9 * self._rate + 0.1 * rows / seconds
            self._metrics.batch(self.tag, rows, seconds)
        finally:
            self._computing = 0

    async def _restart(self, failure: Exception) -> None:
        self.ready = False
        self._log(f"{failure or f'The model {self.tag} took more than {self._config.serving_seconds:g} seconds.'}")
        while True:
            await self._process.stop()
            self._refuse(self._queue, "has failed and is started again")
            self._queue.clear()
            self._rows = 0
            await asyncio.sleep(RESTART_SECONDS)
            try:
                await self._process.start(self._log)
            except ModelFailed as again:
                self._log(str(again))
                continue
            self.ready = True
            self._metrics.restarts.labels(self.tag).inc()
            return

    def _refuse(self, batch: "collections.abc.Iterable[_Waiting]", why: str) -> None:
        for waiting in batch:
            if not waiting.answer.done():
                waiting.answer.set_exception(Refusal(503, f"The model {self.tag} {why}.", 2))

    def _retry_after(self) -> int:
        """Returns the seconds until what waits now is computed."""
        return min(60, max(1, math.ceil(self._rows / self._rate))) if self._rate else 1
