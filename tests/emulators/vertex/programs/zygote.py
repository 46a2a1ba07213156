"""Program of a warm process that has imported modules and forks a process for each task.

    python zygote.py MODULE...

Importing TFX or Google's clients takes longer than most tasks. A forked task has its own environment, folder and
arguments like any process, and runs a module as `__main__`.

stdin: lines of JSON with `id`, `argv`, `folder`, `environment` and `log`. stdout: lines with `id` and `pid` when a task
starts, with `id` and `code` when it ends. The process and all tasks end at the end of stdin.
"""

import atexit
import gc
import importlib
import json
import os
import runpy
import select
import signal
import sys
import threading
import traceback

# Tasks run these: they must not be imported before, as in a new process.
MAIN = ("tfx.orchestration.kubeflow.v2.container.kubeflow_v2_run_executor", "tfx.scripts.run_executor")


def main() -> None:
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    for name in sys.argv[1:]:
        importlib.import_module(name)
    for name in MAIN:
        sys.modules.pop(name, None)
    gc.freeze()  # garbage collection in a task must not touch, and so copy, memory shared with it
    readable, writable = os.pipe2(os.O_NONBLOCK)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(writable)
    tasks: dict[int, str] = {}  # {process: ID of the task}
    for lines in _lines(readable):
        for line in lines:
            wanted = json.loads(line)
            pid = os.fork()
            if not pid:
                answers.close()
                _become(wanted)
            tasks[pid] = wanted["id"]
            print(json.dumps({"id": wanted["id"], "pid": pid}), file=answers)
        while tasks:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                break
            if pid in tasks:
                print(json.dumps({"id": tasks.pop(pid), "code": os.waitstatus_to_exitcode(status)}), file=answers)
    for pid in tasks:
        os.killpg(pid, signal.SIGKILL)


def _lines(wakeups: int):
    """Yields complete lines of stdin; an empty list when a task may have ended."""
    rest = b""
    while True:
        ready, _, _ = select.select([0, wakeups], [], [])
        if wakeups in ready:
            os.read(wakeups, 4096)
        found: list[bytes] = []
        if 0 in ready:
            data = os.read(0, 1 << 16)
            if not data:
                return
            *found, rest = (rest + data).split(b"\n")
        yield found


def _become(wanted: dict) -> None:
    """Turns this process into the wanted task and exits when it ends."""
    code = 1
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        log = os.open(wanted["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.environ.clear()
        os.environ.update(wanted["environment"])
        os.chdir(wanted["folder"])
        sys.stdout.reconfigure(line_buffering="PYTHONUNBUFFERED" in os.environ)
        code = _run(wanted["argv"])
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        if isinstance(ended.code, str):
            print(ended.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    threading._shutdown()
    atexit._run_exitfuncs()
    os._exit(code)


def _run(argv: list[str]) -> int:
    """Runs `python -m module ...` or `python file ...` in this process; replaces it by any other program."""
    program, *rest = argv
    if not (program == "python" and rest and (rest[0] == "-m" or rest[0].endswith(".py"))):
        os.execvpe(program if program != "python" else sys.executable, argv, os.environ)
    around = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    first = os.getcwd() if rest[0] == "-m" else os.path.dirname(rest[0])
    sys.path[:0] = list(dict.fromkeys([first, *around]))
    importlib.invalidate_caches()
    if rest[0] == "-m":
        sys.argv = rest[1:]
        runpy.run_module(rest[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = rest
        runpy.run_path(rest[0], run_name="__main__")
    return 0


if __name__ == "__main__":
    main()
