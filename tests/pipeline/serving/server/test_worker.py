"""The queue before a model: batches, the refusal of too much, and a model's process that ends."""

import concurrent.futures
import os
import pathlib
import re
import signal

from tests.pipeline.conftest import plain
from tests.pipeline.serving.server.test_app import value
from tests.served import Served, instance

BRIGHT = instance(plain(250))


def children(pid: int) -> list[int]:
    return list(map(int, pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


def together(server: Served, requests: int, instances: int = 1, seconds: float = 60) -> list:
    """Sends requests at the same time; returns their answers."""
    with concurrent.futures.ThreadPoolExecutor(requests) as pool:
        asked = [pool.submit(server.post, {"instances": [BRIGHT] * instances}) for _ in range(requests)]
        return [each.result(seconds) for each in asked]


def test_requests_that_wait_are_computed_together(bright_or_dark):
    with Served(bright_or_dark, SERVING_BATCH="8", SERVING_BATCH_MILLISECONDS="1000") as server:
        assert {answer.status for answer in together(server, 16)} == {200}
        assert value(server, 'spanloop_batch_instances_count{model="model"}') < 8
        assert value(server, 'spanloop_batch_instances_bucket{le="8.0",model="model"}') == value(
            server, 'spanloop_batch_instances_count{model="model"}'
        )


def test_what_is_too_much_is_refused_and_what_was_accepted_is_answered(bright_or_dark):
    with Served(bright_or_dark, SERVING_QUEUE="100", SERVING_BATCH="32") as server:
        (child,) = children(server.process.pid)
        os.kill(child, signal.SIGSTOP)  # so that requests have to wait, however slowly they come
        with concurrent.futures.ThreadPoolExecutor(48) as pool:
            asked = [pool.submit(server.post, {"instances": [BRIGHT] * 30}) for _ in range(48)]
            concurrent.futures.wait(asked, timeout=60, return_when=concurrent.futures.FIRST_COMPLETED)
            os.kill(child, signal.SIGCONT)
            answers = [each.result(60) for each in asked]
        statuses = {answer.status for answer in answers}
        assert statuses == {200, 429}
        for answer in answers:
            if answer.status == 200:
                assert len(answer.json["predictions"]) == 30
            else:
                assert int(answer.headers["retry-after"]) >= 1 and "wait for the model" in answer.json["error"]
        assert {answer.status for answer in together(server, 1, instances=120)} == {200}


def test_a_model_whose_process_ends_is_started_again(bright_or_dark):
    with Served(bright_or_dark) as server:
        (child,) = children(server.process.pid)
        os.kill(child, signal.SIGKILL)

        answer = server.predict(plain(250))

        assert answer.status == 503 and answer.headers["retry-after"]
        # The second where the server has noticed it before the request came.
        assert re.search("started again|not loaded yet", answer.json["error"])
        assert server.get("/health").status == 503
        for _ in range(600):
            if server.get("/health", Connection="close").status == 200:
                break
            signal.sigtimedwait([], 0.1)
        assert server.predict(plain(250)).status == 200
        assert value(server, 'spanloop_model_restarts_total{model="model"}') == 1


def test_a_model_process_has_nothing_to_steal(bright_or_dark):
    with Served(bright_or_dark, GITHUB_TOKEN="a secret", GOOGLE_APPLICATION_CREDENTIALS="/secret.json") as server:
        (child,) = children(server.process.pid)
        variables = pathlib.Path(f"/proc/{child}/environ").read_bytes()
        assert b"PYTHONSAFEPATH" in variables and b"secret" not in variables
        status = pathlib.Path(f"/proc/{child}/status").read_text()
        assert "NoNewPrivs:\t1" in status and "Seccomp:\t2" in status
