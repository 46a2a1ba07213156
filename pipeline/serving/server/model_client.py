"""A model to be served, in a process of its own: model_process.py is the other end."""

import asyncio
import contextlib
import json
import math
import os
import shutil
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from pipeline import confinement
from pipeline.errors import ModelFailed
from pipeline.progress import Log
from pipeline.serving.server.model_process import SIZES, message
from pipeline.serving.server.protocol import Column, Input, Instances, Refusal, Strings, invalid

LARGEST_ANSWER = 1 << 28  # bytes; a model's process may write anything


class ModelProcess:
    """A process that runs the model in `folder`/model; `folder` gets its temporary files."""

    def __init__(self, folder: str, tag: str, rows: int):
        self._folder, self._tag, self._rows = folder, tag, rows
        self.inputs: dict[str, Input] = {}

    async def start(self, log: Log) -> None:
        """Starts it, and waits until it is warm. Raises ModelFailed."""
        own = os.path.join(self._folder, "temporary")
        shutil.rmtree(own, ignore_errors=True)  # of the process before
        os.mkdir(own)
        with open(self._messages, "wb") as messages:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "pipeline.serving.server.model_process"),
                *(os.path.join(self._folder, "model"), own, str(self._rows)),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=messages,
                cwd=own,
                env=confinement.variables(os.environ, own),
                start_new_session=True,  # signals are for this process, which ends the other
            )
        try:
            hello, _ = await self._read()
            self.inputs = {
                name: Input(each["dtype"], None if each["shape"] is None else tuple(each["shape"]), each["images"])
                for name, each in hello["inputs"].items()
            }
            missing = ", ".join(hello["missing"])
        except (KeyError, TypeError, AttributeError) as problem:  # the process is not trusted
            self.kill()
            raise ModelFailed(self._tag, f"its answer cannot be read ({problem!r})") from None
        except BaseException:
            self.kill()
            raise
        if missing:
            log(f"This system cannot keep {missing} from the process of {self._tag}; its graph was checked.")

    async def send(self, requests: Sequence[Instances]) -> None:
        """Sends a batch; if the process has ended, `receive` says so."""
        columns, body = {}, []
        for name in requests[0].columns:
            columns[name], part = _joined([request.columns[name] for request in requests])
            body += part
        head = {"columns": columns, "parts": [each.count for each in requests]}
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._process.stdin.write(message(head, *body))
            await self._process.stdin.drain()

    async def receive(self) -> list[list[bytes] | Refusal]:
        """Returns for each request of the next batch its rows as JSON, or why the model refuses it.

        Raises ModelFailed.
        """
        head, answer = await self._read()
        try:
            return _answers(head, answer)
        except (KeyError, TypeError, AttributeError) as problem:  # the process is not trusted
            raise ModelFailed(self._tag, f"its answer cannot be read ({problem!r})") from None

    async def _read(self) -> tuple[dict[str, Any], bytes]:
        try:
            head, body = SIZES.unpack(await self._process.stdout.readexactly(SIZES.size))
            if head + body > LARGEST_ANSWER:
                raise ModelFailed(self._tag, f"it answered with {head + body:,} bytes")
            return json.loads(await self._process.stdout.readexactly(head)), await self._process.stdout.readexactly(
                body
            )
        except asyncio.IncompleteReadError:
            code = await self._process.wait()
            raise ModelFailed(self._tag, confinement.last_message(self._messages, code)) from None
        except (ValueError, RecursionError) as problem:
            raise ModelFailed(self._tag, f"its answer cannot be read ({problem})") from None

    @property
    def _messages(self) -> str:
        return os.path.join(self._folder, "messages")

    def kill(self) -> None:
        """Ends it at once."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def stop(self) -> None:
        """Ends it and waits for its end."""
        self.kill()
        await self._process.wait()


def _answers(head: dict[str, Any], body: bytes) -> list[list[bytes] | Refusal]:
    found, at = [], 0
    for part in head["parts"]:
        if "error" in part:
            found.append(invalid(str(part["error"])))
            continue
        rows = []
        for size in part["rows"]:
            rows.append(body[at : at + size])
            at += size
        found.append(rows)
    return found


def _joined(parts: list[Column]) -> tuple[dict[str, Any], list[bytes]]:
    """Returns what the head of a batch says of a column that is that of several requests, and its bytes."""
    if isinstance(parts[0], Strings):
        values = [value for part in parts for value in part.values]
        count = len(values) // max(1, math.prod(parts[0].shape))
        return {"sizes": list(map(len, values)), "shape": [count, *parts[0].shape]}, values
    whole = parts[0] if len(parts) == 1 else np.concatenate(parts)
    return {"dtype": whole.dtype.name, "shape": whole.shape}, [whole.tobytes()]
