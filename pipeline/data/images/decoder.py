"""Decodes images of unknown origin in a child process, which is started when first needed and after each crash."""

import atexit
import os
import select
import subprocess
import sys
import threading
import time

from pipeline import environment
from pipeline.data.images import decoder_process
from pipeline.data.images.decoder_process import ANSWER, REQUEST
from pipeline.data.images.rules import BadImage

MOST_SECONDS = 60  # for one image

_lock = threading.Lock()
_child: subprocess.Popen | None = None
_parent = 0  # the process that started it: a fork of that must not talk to it


def ask(verb: bytes, data: bytes) -> bytes:
    """Has the child process do `verb`, one of decoder_process.VERBS. Raises BadImage where that fails or crashes."""
    with _lock:
        child = _running()
        try:
            child.stdin.write(REQUEST.pack(verb, len(data)))
            child.stdin.write(data)
            child.stdin.flush()
            until = time.monotonic() + MOST_SECONDS
            done, size = ANSWER.unpack(_read(child, ANSWER.size, until))
            answer = _read(child, size, until)
        except TimeoutError:
            _stop(kill=True)
            raise BadImage(f"takes longer than {MOST_SECONDS} seconds to decode") from None
        except (BrokenPipeError, EOFError):
            _stop(kill=True)
            raise BadImage("crashes the decoder") from None
    if not done:
        raise BadImage(answer.decode(errors="replace"))
    return answer


def _running() -> subprocess.Popen:
    global _child, _parent
    if _child is None or _parent != os.getpid():
        _child = subprocess.Popen(
            [sys.executable, "-I", decoder_process.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # what C libraries print while they crash is for nobody
            env=environment.allowed(os.environ) | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
            start_new_session=True,  # Ctrl-C is for the parent: the child ends when its stdin is closed
        )
        _parent = os.getpid()
    return _child


def _read(child: subprocess.Popen, size: int, until: float) -> bytes:
    """Reads exactly `size` bytes; raises EOFError when the child ends before, TimeoutError at the time `until`."""
    descriptor, parts = child.stdout.fileno(), []
    while size:
        if not select.select([descriptor], [], [], max(0.0, until - time.monotonic()))[0]:
            raise TimeoutError
        part = os.read(descriptor, size)
        if not part:
            raise EOFError
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


@atexit.register
def _stop(kill: bool = False) -> None:
    global _child
    if _child is None or _parent != os.getpid():
        return
    child, _child = _child, None
    if kill:
        child.kill()
    try:
        child.stdin.close()
    except BrokenPipeError:
        child.kill()
    child.stdout.close()
    child.wait()
