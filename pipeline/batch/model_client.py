"""A released model in a process of its own: model_process.py is the other end."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from pipeline import confinement
from pipeline.batch.model_process import ANSWER, ANSWERED_ALL, NO_MORE, SIZE, UNDECODED
from pipeline.batch.predictor import Classification
from pipeline.errors import ModelFailed
from pipeline.progress import Log, no_log


class ModelClient:
    """A context in which a process runs the model of `folder`/model; `folder` gets its temporary files."""

    def __init__(self, folder: str, tag: str, log: Log = no_log):
        self._folder, self._tag, self._log = folder, tag, log

    def __enter__(self) -> "ModelClient":
        own = os.path.join(self._folder, "temporary")
        os.mkdir(own)
        with open(self._messages, "wb") as messages:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "pipeline.batch.model_process", os.path.join(self._folder, "model"), own],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=messages,
                cwd=own,
                env=confinement.variables(os.environ, own),
                start_new_session=True,  # Ctrl-C is for this process, which ends the other
            )
        try:
            (size,) = SIZE.unpack(self._read(SIZE.size))
            if missing := self._read(size).decode():
                self._log(f"This system cannot keep {missing} from a model's process; its graph was checked.")
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def classify(self, images: Iterable[bytes]) -> Iterator[Classification | None]:
        """Yields the classification of each PNG or JPEG in order; None for one that cannot be decoded.

        Another thread takes the images, a few batches ahead. Raises what taking them raises, or ModelFailed.
        """
        errors: list[BaseException] = []
        sender = threading.Thread(target=_send, args=(images, self._process.stdin, errors), daemon=True)
        sender.start()
        answered_all = False
        try:
            while (found := self._answer()) is not ANSWERED_ALL:
                yield found
            answered_all = True
        finally:
            if not answered_all:
                self._process.kill()  # so that the sender ends, too
            sender.join()
        if errors:
            raise errors[0]

    def _answer(self) -> Classification | None | int:
        """Returns the next answer, or ANSWERED_ALL."""
        import numpy as np

        kind, confidence, label, classes = ANSWER.unpack(self._read(ANSWER.size))
        if kind == ANSWERED_ALL:
            return ANSWERED_ALL
        if kind == UNDECODED:
            return None
        text = self._read(label).decode(errors="replace")
        return Classification(text, confidence, np.frombuffer(self._read(4 * classes), "<f4"))

    def _read(self, size: int) -> bytes:
        data = self._process.stdout.read(size)
        if len(data) < size:
            raise ModelFailed(self._tag, confinement.last_message(self._messages, self._process.wait()))
        return data

    @property
    def _messages(self) -> str:
        return os.path.join(self._folder, "messages")

    def _end(self) -> None:
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()
        _close(self._process.stdin)


def _send(images: Iterable[bytes], requests: BinaryIO, errors: list[BaseException]) -> None:
    """Writes all images, and keeps what goes wrong in `errors`; nothing when the process has ended."""
    try:
        for image in images:
            requests.write(SIZE.pack(len(image)) + image)
    except BrokenPipeError:
        return
    except BaseException as error:
        errors.append(error)
    try:
        requests.write(SIZE.pack(NO_MORE))
        requests.flush()
    except BrokenPipeError:
        return


def _close(file: BinaryIO) -> None:
    try:
        file.close()
    except BrokenPipeError:
        return  # it had buffered what the process did not read
