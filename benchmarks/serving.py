"""Images per second of `serve` at 8 images a request, against the same model on batches in memory.

The model is a released one, for digits, and takes PNGs. Also shown: single images with 1 to 128 clients, for it and for
the device model of the same release, against a bare aiohttp server that reads the same requests and answers a constant
of the same size, and against the model alone in batches of 32; memory over 100,000 requests; what becomes of twice the
requests that the server can answer; and photographs of 640 x 480 pixels. Clients run on the same processors. Both sides
of a ratio alternate, and the best round of each counts. REQUESTS=N sends fewer than 100,000, TRAINED names a workspace
with a release of both models.
"""

import asyncio
import base64
import contextlib
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import NamedTuple

import measure

sys.path.insert(0, str(measure.ROOT))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

REACH, REACH_OF_HTTP = 0.6, 0.8
SECONDS, ROUNDS = 5.0, 3
PATH = "/v1/models/classification:predict"
ROW = "{:<16}" + "{:>9}" * 9
COLUMNS = ("p50 ms", "p99 ms", "served/s", "model/s", "bare/s", "ratio", "CPU ms", "model's", "bare's")
# the device model learns less of so few digits than it would of more
PAIR = {"DEVICE_MODEL": "true", "DEVICE_ACCURACY_THRESHOLD": "0.5", "DEVICE_AGREEMENT": "0.5"}


class Load(NamedTuple):
    """What clients saw."""

    seconds: float
    statuses: dict[int, int]  # requests by status
    lost: int  # requests without an answer
    latencies: list[float]  # seconds, sorted, of answers with status 200

    @property
    def rate(self) -> float:
        return self.statuses.get(200, 0) / self.seconds

    def percentile(self, share: float) -> float:
        return self.latencies[min(len(self.latencies) - 1, int(share * len(self.latencies)))] if self.latencies else 0.0


def main():
    with tempfile.TemporaryDirectory(prefix="serving-") as folder:
        workspace = os.environ.get("TRAINED") or trained(folder)
        images = digits()
        with server(workspace) as (port, pid):
            best = batches(workspace, images, port)
            singles("cloud model", images, port, pid, best[1])
            memory(images, port, pid)
            overload(images, port)
            photographs(port)
        with server(workspace, "--device") as (port, pid):
            singles("device model", images, port, pid, device_speed(workspace, images))
    measure.finish("serving", round(best[0]), round(best[1]), "images/s", REACH, at_least=True)


def trained(workspace: str) -> str:
    """Fills a workspace with a release; returns it."""
    for command in (["import-images", "--demo"], ["train"]):
        measure.run([sys.executable, "-m", "ci", *command, "--json"], WORKSPACE=workspace, **PAIR)
    return workspace


def digits() -> list[bytes]:
    from pipeline.data import digits

    return [image for _, image in digits.images(digits.FIRST, limit=256)]


@contextlib.contextmanager
def server(workspace: str, *arguments: str) -> Iterator[tuple[int, int]]:
    """Runs `serve`; yields its port and process ID."""
    command = [sys.executable, "-m", "ci", "serve", "--port", "0", *arguments]
    variables = os.environ | {"WORKSPACE": workspace, "SERVING_QUEUE": "512"}
    with open(os.path.join(tempfile.gettempdir(), f"serving-{os.getpid()}.log"), "w+") as log:
        process = subprocess.Popen(command, cwd=measure.ROOT, env=variables, stderr=log, stdout=subprocess.DEVNULL)
        try:
            yield waited(process, pathlib.Path(log.name), r"Serving at http://[\d.]+:(\d+)"), process.pid
        finally:
            process.terminate()
            process.wait()
            os.unlink(log.name)


def waited(process: subprocess.Popen, log: pathlib.Path, pattern: str) -> int:
    """Waits for a line of a log; returns the number in it."""
    while process.poll() is None:
        if found := re.search(pattern, log.read_text()):
            return int(found[1])
        time.sleep(0.1)
    raise SystemExit(log.read_text())


def request(images: list[bytes]) -> bytes:
    """Returns the bytes of a request for predictions."""
    body = json.dumps({"instances": [{"b64": base64.b64encode(image).decode()} for image in images]}).encode()
    return f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


class Client(asyncio.Protocol):
    """A connection that sends one request after another; cheaper than any HTTP client, which would be measured too."""

    def connection_made(self, transport: asyncio.Transport) -> None:
        self.transport, self.data, self.answer = transport, b"", None

    def ask(self, data: bytes) -> "asyncio.Future[int]":
        self.answer = asyncio.get_running_loop().create_future()
        self.transport.write(data)
        return self.answer

    def data_received(self, data: bytes) -> None:
        self.data += data
        head, found, body = self.data.partition(b"\r\n\r\n")
        if found and len(body) >= int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0]):
            status, self.data = int(head[9:12]), b""
            self.answer.set_result(status)

    def connection_lost(self, error: Exception | None) -> None:
        if self.answer and not self.answer.done():
            self.answer.set_exception(ConnectionResetError())


async def closed_loop(port: int, requests: list[bytes], clients: int, seconds: float = 0.0, most: int = 0) -> Load:
    """Lets each client send its next request when the last one is answered, for some seconds or `most` requests."""
    latencies, statuses, lost, sent = [], {}, 0, 0
    until = time.perf_counter() + seconds if seconds else float("inf")

    async def client(number: int) -> None:
        nonlocal lost, sent
        _, connection = await asyncio.get_running_loop().create_connection(Client, "127.0.0.1", port)
        while time.perf_counter() < until and (not most or sent < most):
            sent += 1
            began = time.perf_counter()
            try:
                status = await connection.ask(requests[(number + sent) % len(requests)])
            except ConnectionResetError:
                lost += 1
                return
            statuses[status] = statuses.get(status, 0) + 1
            if status == 200:
                latencies.append(time.perf_counter() - began)
        connection.transport.close()

    began = time.perf_counter()
    await asyncio.gather(*(client(number) for number in range(clients)))
    return Load(time.perf_counter() - began, statuses, lost, sorted(latencies))


async def open_loop(port: int, requests: list[bytes], rate: float, seconds: float, connections: int) -> Load:
    """Sends `rate` requests a second whether they are answered or not, on the connections that are free."""
    latencies, statuses, lost = [], {}, 0
    loop = asyncio.get_running_loop()
    free = [(await loop.create_connection(Client, "127.0.0.1", port))[1] for _ in range(connections)]
    running: set[asyncio.Task] = set()

    async def ask(connection: Client, data: bytes) -> None:
        nonlocal lost
        began = time.perf_counter()
        try:
            status = await connection.ask(data)
        except ConnectionResetError:
            lost += 1
            return
        statuses[status] = statuses.get(status, 0) + 1
        if status == 200:
            latencies.append(time.perf_counter() - began)
        free.append(connection)

    began, sent = time.perf_counter(), 0
    while (now := time.perf_counter() - began) < seconds:
        while sent < now * rate and free:
            running.add(task := asyncio.create_task(ask(free.pop(), requests[sent % len(requests)])))
            task.add_done_callback(running.discard)
            sent += 1
        await asyncio.sleep(0.001)
    await asyncio.gather(*running)
    return Load(time.perf_counter() - began, statuses, lost, sorted(latencies))


def batches(workspace: str, images: list[bytes], port: int) -> tuple[float, float]:
    """Returns images a second at 8 images a request: served, and in memory at the batch size of the server."""
    import tensorflow as tf

    from pipeline.releases.factory import open_releases

    releases = open_releases(os.path.join(workspace, "releases"))
    with tempfile.TemporaryDirectory() as folder:
        model = tf.saved_model.load(releases.fetch(releases.newest(), os.path.join(folder, "model")))
    network = model.signatures["serving_default"]

    def in_memory(size: int, seconds: float) -> float:
        batch, count = tf.constant((images * 8)[:size]), 0
        network(image=batch)
        began = time.perf_counter()
        while time.perf_counter() - began < seconds:
            network(image=batch)["label"].numpy()
            count += size
        return count / (time.perf_counter() - began)

    requests = [request(images[start : start + 8]) for start in range(0, 256, 8)]
    served, own = [], []
    for _ in range(ROUNDS):
        served.append(8 * asyncio.run(closed_loop(port, requests, 16, SECONDS)).rate)
        own.append(in_memory(32, SECONDS))
        print(f"8 images a request: {served[-1]:,.0f} images/s, in memory {own[-1]:,.0f} images/s", flush=True)
    print(f"in memory one by one: {in_memory(1, 2):,.0f} images/s, in batches of 8: {in_memory(8, 2):,.0f} images/s")
    return max(served), max(own)


BARE = """
import asyncio, sys
from aiohttp import web

async def predict(request):
    await request.read()
    return web.Response(body=ANSWER, content_type="application/json")

async def main():
    runner = web.AppRunner(web.Application(), access_log=None)
    runner.app.router.add_post("/v1/models/{name:[^/:]+}:predict", predict)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()

ANSWER = b"x" * int(sys.argv[1])
asyncio.run(main())
"""


@contextlib.contextmanager
def bare_server(size: int) -> Iterator[tuple[int, int]]:
    """Runs a server that answers `size` bytes; yields its port and process ID."""
    process = subprocess.Popen([sys.executable, "-c", BARE, str(size)], stdout=subprocess.PIPE, text=True)
    try:
        yield int(process.stdout.readline()), process.pid
    finally:
        process.kill()
        process.wait()


def singles(name: str, images: list[bytes], port: int, pid: int, own: float) -> None:
    """Prints one image a request: latencies, requests a second beside those of the model alone and of the bare server,
    and the CPU time of a request in the server, in the model's process and in the bare server."""
    requests, model = [request([image]) for image in images], children(pid)
    print(ROW.format(name, *COLUMNS))
    with bare_server(size_of_answer(port, requests[0])) as (bare, bare_pid):
        for clients in (1, 8, 32, 128):
            served, constant = [], []
            for _ in range(ROUNDS):
                served.append(costed(port, requests, clients, [pid], model))
                constant.append(costed(bare, requests, clients, [bare_pid]))
            best = max((load for load, _ in served), key=lambda load: load.rate)
            bare_rate = max(load.rate for load, _ in constant)
            numbers = [f"{best.percentile(share) * 1e3:.1f}" for share in (0.5, 0.99)]
            rates = [f"{best.rate:,.0f}", f"{own:,.0f}", f"{bare_rate:,.0f}", f"{best.rate / bare_rate:.2f}"]
            least = [*map(min, zip(*(cost for _, cost in served), strict=True)), min(cost[0] for _, cost in constant)]
            print(ROW.format(f"{clients} clients", *numbers, *rates, *(f"{each:.3f}" for each in least)), flush=True)
            assert not best.lost and set(best.statuses) == {200}, best.statuses


def costed(port: int, requests: list[bytes], clients: int, *processes: list[int]) -> tuple[Load, list[float]]:
    """Sends requests for a while; also returns the CPU milliseconds of a request in each group of processes."""
    before = [cpu(group) for group in processes]
    load = asyncio.run(closed_loop(port, requests, clients, SECONDS / 2))
    spent = [cpu(group) - start for group, start in zip(processes, before, strict=True)]
    return load, [1e3 * seconds / len(load.latencies) for seconds in spent]


def cpu(processes: list[int]) -> float:
    """Returns the CPU seconds of processes: https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html"""
    stats = [pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in processes]
    return sum(int(fields[11]) + int(fields[12]) for fields in stats) / os.sysconf("SC_CLK_TCK")


def device_speed(workspace: str, images: list[bytes]) -> float:
    """Returns images a second of the device model alone, in batches of 32 in memory, decoding included."""
    import numpy as np

    from pipeline.device import released
    from pipeline.releases.factory import open_releases
    from pipeline.serving.server import model_process

    releases = open_releases(os.path.join(workspace, "releases"))
    with tempfile.TemporaryDirectory() as folder:
        released.fetch(releases, releases.newest(), os.path.join(folder, "model"))
        model = model_process.load(os.path.join(folder, "model"))
    batch, best = np.array(images[:32], object), 0.0
    for _ in range(ROUNDS):
        began, count = time.perf_counter(), 0
        while (seconds := time.perf_counter() - began) < SECONDS / 2:
            model.run({"image": batch})
            count += len(batch)
        best = max(best, count / seconds)
    return best


def size_of_answer(port: int, data: bytes) -> int:
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("POST", PATH, data.partition(b"\r\n\r\n")[2])
    return len(connection.getresponse().read())


def memory(images: list[bytes], port: int, pid: int) -> None:
    """Prints the memory of the server and of its model's process while it answers many requests."""
    requests, left = [request([image]) for image in images], int(os.environ.get("REQUESTS", 100_000))
    asyncio.run(closed_loop(port, requests, 32, most=left // 10))
    before = resident(pid)
    load = asyncio.run(closed_loop(port, requests, 32, most=left))
    after = resident(pid)
    print(
        f"memory: {before / 1e6:.0f} MB after {left // 10:,} requests, {after / 1e6:.0f} MB after {left:,} more"
        f" ({load.rate:,.0f}/s, p99 {load.percentile(0.99) * 1e3:.0f} ms), {load.lost} lost, {load.statuses}"
    )


def resident(pid: int) -> int:
    """Returns the bytes of memory of a process and its children."""
    pages = [int(pathlib.Path(f"/proc/{each}/statm").read_text().split()[1]) for each in [pid, *children(pid)]]
    return sum(pages) * os.sysconf("SC_PAGE_SIZE")


def children(pid: int) -> list[int]:
    return list(map(int, pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


def overload(images: list[bytes], port: int) -> None:
    """Prints what becomes of twice the requests that the server answers."""
    requests = [request(images[start : start + 8]) for start in range(0, 256, 8)]
    capacity = asyncio.run(closed_loop(port, requests, 32, SECONDS)).rate
    load = asyncio.run(open_loop(port, requests, 2 * capacity, 2 * SECONDS, 256))
    answered, refused = load.statuses.get(200, 0), load.statuses.get(429, 0)
    others = {status: count for status, count in load.statuses.items() if status not in (200, 429)}
    print(
        f"overload: {2 * capacity:,.0f} requests/s of 8 images were sent, {capacity:,.0f}/s is what it can do; answered"
        f" {answered:,} ({load.rate:,.0f}/s, p99 {load.percentile(0.99) * 1e3:.0f} ms), refused {refused:,} with 429,"
        f" lost {load.lost}, others {others or 'none'}"
    )


def photographs(port: int) -> None:
    """Prints images a second of JPEGs of 640 x 480 pixels."""
    load = asyncio.run(closed_loop(port, [request([photograph(number)]) for number in range(16)], 8, SECONDS))
    many = asyncio.run(closed_loop(port, [request([photograph(n) for n in range(8)])], 4, SECONDS))
    print(f"JPEGs of 640 x 480: {load.rate:,.0f}/s one a request, {8 * many.rate:,.0f}/s eight a request")


def photograph(seed: int) -> bytes:
    import io

    import numpy as np
    from PIL import Image

    coarse = np.random.default_rng(seed).integers(0, 256, (12, 16, 3), np.uint8)
    out = io.BytesIO()
    Image.fromarray(coarse).resize((640, 480), Image.Resampling.BICUBIC).save(out, "JPEG", quality=90)
    return out.getvalue()


if __name__ == "__main__":
    main()
