"""Ctrl-C and SIGTERM: a command ends within seconds, with one line, no traceback and no temporary folders."""

import _signal as signal  # `signal` makes enumerations of it, which takes most of the time until it is in place
import _thread
import os
import sys
from collections.abc import Callable

LINE = "Stopped. Run it again to go on."
GRACE = 3  # seconds in which a command may undo what it has begun
PART_OF = "SPANLOOP_PART_OF"  # set for a command that another command runs, which is the one that prints the line

_signal = 0  # the first one that arrived
_state = "starting"  # then "working", while the first signal raises KeyboardInterrupt, then "finished"
_exit_code = 0  # of the finished command
_stderr = 2  # as it was before anything was redirected
_folder = ""
_held = False  # while a signal only sets `_signal`
_ending = _thread.allocate_lock()


def install() -> None:
    """Takes over both signals; one that the caller ignores, as `nohup` does, stays ignored."""
    global _stderr
    _stderr = os.dup(2)
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _handle)
    # A handler runs between two instructions of the main thread, which may be in native code for long. This thread sees
    # a signal at once. Not a threading.Thread: that import takes longer than all else here.
    _thread.start_new_thread(_watch, (reader,))
    os.register_at_fork(after_in_child=_uninstall)  # a fork shares the pipe, but its signals are not this process's


def _uninstall() -> None:
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is _handle:
            signal.signal(number, signal.SIG_DFL)


def run(work: Callable[[], int]) -> int:
    """Returns what `work` returns; ends the process when a signal arrives meanwhile, after `work` has cleaned up."""
    global _state, _exit_code
    try:
        _state = "working"
        _exit_code = work()
        _state = "finished"
        sys.unraisablehook = _silent  # TensorFlow's functions fail when the interpreter deletes them at its end
    except BaseException:
        if _signal:
            _end()  # whatever libraries made of the KeyboardInterrupt on its way
        raise
    return _exit_code


def requested() -> bool:
    """True when a signal has arrived."""
    return bool(_signal)


def own_temporary_folder() -> None:
    """Gives this process, and those that it starts, a folder for temporary files that is removed at its end."""
    global _folder, _held
    import atexit
    import tempfile

    _held = True  # interrupted in there, tempfile would leave what it tries folders with
    try:
        _folder = tempfile.mkdtemp(prefix="spanloop-")
    except OSError:
        return  # a command that needs one will say so
    finally:
        _held = False
        if _signal:
            raise KeyboardInterrupt
    os.environ["TMPDIR"] = tempfile.tempdir = _folder
    atexit.register(_remove, os.getpid())


def _handle(number: int, _: object) -> None:
    global _signal
    if _signal:
        return
    if _state == "finished":
        os._exit(_exit_code)
    _signal = number
    if _state == "starting":
        _end()
    sys.unraisablehook = sys.excepthook = _silent
    if threading := sys.modules.get("threading"):
        threading.excepthook = _silent
    if not _held:
        raise KeyboardInterrupt


def _silent(*_: object) -> None:
    """Swallows what a program that is ending has to say of itself."""


def _watch(reader: int) -> None:
    import time

    while not set(received := os.read(reader, 1)) & {signal.SIGINT, signal.SIGTERM}:
        continue
    time.sleep(GRACE)
    _end(received[0])


def _end(number: int = 0) -> None:
    """Ends the process at once, so it does not return, without the interpreter's own clean-up: it waits for threads."""
    _ending.acquire()
    if _state == "finished":
        os._exit(_exit_code)
    clear = "\x1b[?25h\r\x1b[K" if os.isatty(_stderr) else ""  # a progress display may have hidden the cursor
    if PART_OF not in os.environ:
        try:
            os.write(_stderr, f"{clear}{LINE}\n".encode())
        except OSError:
            _silent()
    _remove(os.getpid())
    os._exit(128 + (_signal or number))  # as shells count


def _remove(owner: int) -> None:
    if _folder and owner == os.getpid():  # not a fork of it
        import shutil

        shutil.rmtree(_folder, ignore_errors=True)
