"""Functions that the cells of all notebooks share: they run the product's commands and show what it wrote.

Needs only the standard library and IPython, so that a notebook runs in any kernel: the commands run in .venv.
"""

import atexit
import base64
import html
import json
import os
import pathlib
import random
import signal
import subprocess
import tempfile
from collections.abc import Sequence

from IPython.display import HTML

ROOT = pathlib.Path(__file__).resolve().parents[1]
PYTHON = ROOT / ".venv" / "bin" / "python"
READ = """
import sys
from pipeline.storage.factory import open_storage

folder, _, name = sys.argv[1].rpartition("/")
sys.stdout.buffer.write(open_storage(folder).read(name))
"""
DIGITS = """
import sys
from pipeline.data import digits

folder, camera, skip, limit = sys.argv[1:]
digits.write(folder, camera, int(skip), int(limit))
"""


class CommandFailed(Exception):
    """A command ended with an error; its last lines say what to do next."""


def ci(*arguments: str, shown: bool = True) -> dict:
    """Runs `python -m ci ARGUMENTS`, shows what it says while it runs (unless not `shown`), and returns its JSON.

    Raises CommandFailed. A result that calls for an action is no failure: `doctor` and the like return their JSON.
    """
    last = ""
    if shown:
        print(f"$ python -m ci {' '.join(arguments)}", flush=True)
    command = [str(PYTHON), "-W", "ignore", "-m", "ci", *arguments, "--json"]
    with tempfile.TemporaryFile() as outcome:  # a pipe that nobody reads meanwhile would stop a command that says much
        with subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=outcome, stderr=subprocess.PIPE, text=True
        ) as running:
            try:
                for line in running.stderr:
                    last = line
                    if shown:
                        print(line, end="", flush=True)
            except KeyboardInterrupt:  # the kernel was interrupted
                running.send_signal(signal.SIGINT)
                raise
        outcome.seek(0)
        found = outcome.read()
    if not found:
        raise CommandFailed(f"{arguments[0]} ended with exit code {running.returncode}. {last}")
    return json.loads(found)


def use_google_cloud(**settings: str) -> str:
    """Sets what the commands read, in a project of one's own or on local servers. Returns a line that says which.

    Where GCP_PROJECT is set, the environment is used as it is (docs/google-cloud.md says what it takes). Otherwise
    servers are started that stand in for Google Cloud on this machine and end with the kernel.
    """
    own = os.environ.get("GCP_PROJECT")
    if not own:
        os.environ.update(_start_servers())
    for name, value in settings.items():
        os.environ.setdefault(name, value)
    where = f"the project {own}" if own else "servers on this machine in place of Google Cloud"
    return f"The workspace is {os.environ['WORKSPACE']}, on {where}."


def _start_servers() -> dict[str, str]:
    servers = subprocess.Popen(
        [str(PYTHON), "-W", "ignore", "-m", "tests.emulators", "--json"], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    atexit.register(servers.terminate)
    line = servers.stdout.readline()
    if not line:
        raise CommandFailed("The local servers did not start: `make emulators` in a terminal says why.")
    return json.loads(line)


def write_digits(folder: str, camera: str, count: int, skip: int = 0) -> str:
    """Writes scans of handwritten digits to `folder`/<label>/, as the camera "first" or "changed" sees them."""
    _python(DIGITS, folder, camera, str(skip), str(count))
    return folder


def read(address: str) -> bytes:
    """Returns the content of a file, or of an object in a bucket."""
    return _python(READ, address)


def _python(program: str, *arguments: str) -> bytes:
    command = [str(PYTHON), "-W", "ignore", "-c", program, *arguments]
    return subprocess.run(command, cwd=ROOT, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE).stdout


def show_page(address: str, height: int = 640) -> HTML:
    """Shows a page that the product wrote. Its scripts cannot reach the notebook."""
    page = html.escape(read(address).decode("utf-8"))
    style = f"width:100%;height:{height}px;border:0"
    return HTML(f'<div><iframe sandbox="allow-scripts" style="{style}" srcdoc="{page}"></iframe></div>')


def show_pictures(pictures: str | Sequence[pathlib.Path], count: int = 20) -> HTML:
    """Shows some pictures of a folder with one subfolder a label, or these files; the subfolder is the caption."""
    if isinstance(pictures, str):
        found = (path for path in pathlib.Path(pictures).rglob("*") if path.suffix.lower() in (".png", ".jpg", ".jpeg"))
        pictures = sorted(found)
        random.Random(0).shuffle(pictures)
    figures = "".join(map(_figure, pictures[:count]))
    return HTML(f'<div style="display:flex;flex-wrap:wrap;gap:12px">{figures}</div>')


def _figure(path: pathlib.Path) -> str:
    kind = "png" if path.suffix.lower() == ".png" else "jpeg"
    data = base64.b64encode(path.read_bytes()).decode()
    label = html.escape(path.parent.name)
    return (
        f'<figure style="margin:0;text-align:center"><img alt="{label}" src="data:image/{kind};base64,{data}"'
        f' style="height:64px"><figcaption>{label}</figcaption></figure>'
    )


def show_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> HTML:
    """Shows a table."""
    head = "".join(f"<th>{html.escape(name)}</th>" for name in columns)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows)
    return HTML(f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")


def percent(share: float | None) -> str:
    """0.946 as 94.6 %."""
    return "-" if share is None else f"{100 * share:.1f} %"
