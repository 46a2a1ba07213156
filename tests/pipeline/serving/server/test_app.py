"""The server's life: routes, limits, hostile clients, request ids, logs, metrics, SIGTERM under load."""

import concurrent.futures
import json
import os
import signal
import socket
import subprocess
import sys

import pytest

from pipeline.errors import UsageError
from pipeline.serving.server.app import Place
from tests.ci.conftest import environment
from tests.conftest import encoded, noise
from tests.pipeline.conftest import plain
from tests.served import ROOT, Served, answer, instance

BRIGHT = {"instances": [instance(plain(250))]}


def test_vertex_ai_chooses_port_and_routes():
    variables = {"AIP_HTTP_PORT": "8501", "AIP_HEALTH_ROUTE": "/ping", "AIP_PREDICT_ROUTE": "/p:predict"}
    assert Place.of(variables) == Place("0.0.0.0", 8501, "/ping", "/p:predict", on_vertex=True)
    assert Place.of({}) == Place("127.0.0.1", 8080, "", "")
    assert Place.of(variables, "::1", 0).host == "::1" and Place.of(variables, "::1", 0).port == 0
    for wrong in ({"AIP_HTTP_PORT": "http"}, {"AIP_HTTP_PORT": "70000"}, {"AIP_HEALTH_ROUTE": "ping"}):
        with pytest.raises(UsageError, match=next(iter(wrong.values()))):
            Place.of(wrong)


def test_a_healthy_server_says_so_on_both_routes(saved_model_server):
    for path in ("/health", "/ping"):
        answer = saved_model_server.get(path)
        assert answer.status == 200 and answer.json == {"status": "ok", "models": {"model": 100}}


def test_a_request_has_an_id_and_a_line_of_the_log(device_model_server):
    first = device_model_server.post(BRIGHT, X_Request_Id="from-the-app:7")
    second = device_model_server.post({"instances": [3]}, X_Request_Id='a "bad\tone')
    assert first.headers["x-request-id"] == "from-the-app:7" and len(second.headers["x-request-id"]) == 16
    device_model_server.waited(second.headers["x-request-id"], seconds=10)
    lines = {line["request_id"]: line for line in device_model_server.log if "request_id" in line}
    line = lines["from-the-app:7"]
    assert (line["severity"], line["status"], line["instances"], line["model"]) == ("INFO", 200, 1, "model")
    assert line["milliseconds"] > 0 and line["time"].endswith("Z")
    refused = lines[second.headers["x-request-id"]]
    assert refused["severity"] == "WARNING" and "Expecting shape" in refused["error"]


def value(server: Served, name: str) -> float:
    lines = server.get("/metrics").body.decode().splitlines()
    return next((float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{name} ")), 0.0)


def test_requests_and_batches_are_counted(device_model_server):
    name = 'spanloop_requests_total{model="model",status="200"}'
    before = value(device_model_server, name), value(device_model_server, 'spanloop_batch_instances_sum{model="model"}')
    for _ in range(3):
        device_model_server.post({"instances": BRIGHT["instances"] * 5})
    after = value(device_model_server, name), value(device_model_server, 'spanloop_batch_instances_sum{model="model"}')
    assert (after[0] - before[0], after[1] - before[1]) == (3, 15)
    assert value(device_model_server, 'spanloop_queue_instances{model="model"}') == 0


def test_images_with_too_many_pixels_are_refused_before_they_are_decoded(saved_model_server):
    bomb = bytearray(encoded(noise(1, "RGB", (1, 1)), "PNG"))
    bomb[16:24] = (1).to_bytes(4, "big") + (50_000_000).to_bytes(4, "big")
    answer = saved_model_server.predict(bytes(bomb))
    assert answer.status == 400 and "50,000,000 pixels" in answer.json["error"]
    large = encoded(noise(1, "RGB", (800, 800)), "PNG")
    assert saved_model_server.predict(large).status == 200
    assert "1,280,000 pixels" in saved_model_server.predict(large, large).json["error"]


def test_a_body_that_is_too_large_is_refused(device_model_server):
    answer = device_model_server.post(b"[" + b" " * 1_000_000)
    assert answer.status == 413 and "1,000,000 bytes" in answer.json["error"]
    connection = device_model_server.connection()
    connection.request("POST", device_model_server.path, iter([b" " * 65536] * 40), encode_chunked=True)
    response = connection.getresponse()
    assert response.status == 413 and "1,000,000 bytes" in json.loads(response.read())["error"]


def raw(server: Served, data: bytes) -> socket.socket:
    connection = socket.create_connection((server.host, server.port), timeout=30)
    connection.sendall(data)
    return connection


def test_slow_clients_are_not_waited_for_and_hold_up_no_other(device_model_server):
    head = f"POST {device_model_server.path} HTTP/1.1\r\nHost: localhost\r\n".encode()
    slow = raw(device_model_server, head + b"Content-Length: 99\r\n\r\n{")
    with raw(device_model_server, head) as silent, slow:
        assert device_model_server.post(BRIGHT).status == 200
        assert slow.recv(99).startswith(b"HTTP/1.1 408")
        assert silent.recv(99) == b""


def test_a_client_that_closes_its_half_or_leaves_does_no_harm(device_model_server):
    body = json.dumps(BRIGHT).encode()
    head = (
        f"POST {device_model_server.path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    )
    raw(device_model_server, head + body).close()
    raw(device_model_server, head + body[:9]).close()
    with raw(device_model_server, head + body) as half:
        half.shutdown(socket.SHUT_WR)
        half.recv(99)
    for nonsense in (b"\0\xff\r\n\r\n", b"GET / HTTP/9\r\n\r\n", b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n"):
        with raw(device_model_server, nonsense) as connection:
            assert connection.recv(99)[:12] in (b"HTTP/1.0 400", b"HTTP/1.1 400")
    assert device_model_server.post(BRIGHT).status == 200


def test_sigterm_under_load_loses_no_accepted_request(bright_or_dark):
    with Served(bright_or_dark, SERVING_QUEUE="100000", SERVING_BATCH="64") as server:
        body = json.dumps({"instances": BRIGHT["instances"] * 60})
        connections = [server.connection() for _ in range(60)]
        for connection in connections:
            connection.request("POST", server.path, body)
        os.kill(server.process.pid, signal.SIGTERM)
        server.waited("Stopping")

        answers = [answer(connection) for connection in connections]

        assert [each.status for each in answers] == [200] * 60
        assert {len(each.json["predictions"]) for each in answers} == {60}
        assert server.process.wait(30) == 0
        assert "Stopped after 60 requests." in server.process.stdout.read()
        with pytest.raises(OSError):
            server.get("/health")


def test_a_server_that_stops_is_not_healthy(bright_or_dark):
    with Served(bright_or_dark) as server:
        keeps = server.connection()
        keeps.request("GET", "/health")
        assert answer(keeps).status == 200
        head = f"POST {server.path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\n"
        with raw(server, head.encode()):  # the server waits for the rest of this request
            os.kill(server.process.pid, signal.SIGTERM)
            server.waited("Stopping")
            keeps.request("GET", "/health")
            assert answer(keeps).json["status"] == "stopping"


def test_a_port_that_is_taken_and_a_model_that_is_none_are_said(device_model_server, tmp_path):
    def failed(address, port):
        command = [sys.executable, "-m", "ci", "serve", "--port", str(port)]
        variables = environment(AIP_STORAGE_URI=str(address))
        done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, timeout=120)
        assert done.returncode == 1 and "Traceback" not in done.stderr
        return done.stderr

    assert "--port" in failed(tmp_path, device_model_server.port)
    assert "has no saved_model.pb" in failed(tmp_path, 0)
    (tmp_path / "saved_model.pb").write_bytes(b"no model")
    assert "damaged" in failed(tmp_path, 0)


def test_memory_stays_flat(device_model_server):
    """The benchmark `serving` sends 100,000 requests."""

    def resident() -> int:
        with open(f"/proc/{device_model_server.process.pid}/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def many() -> None:
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _: device_model_server.post(BRIGHT), range(400)))

    def grown() -> int:
        before = resident()
        many()
        return resident() - before

    many()
    assert any(grown() < 8 << 20 for _ in range(3))  # a leak would show each time, a larger heap shows once
