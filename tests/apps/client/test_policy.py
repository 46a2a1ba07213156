"""Which model answers in each mode, and that the device does where the server is slow, broken, busy or away."""

import time

import pytest

from apps.client.answers import Unanswered
from apps.client.policy import Client, Mode, Rest
from apps.client.server import Server
from tests.apps.client import faulty
from tests.conftest import jpeg, put
from tests.documentation import commands
from tests.pipeline.conftest import plain

BUDGET = 1.0  # seconds
BUSY = 5.0  # seconds that a busy machine may add; the faults last a minute
SURE, UNSURE = plain(250), plain(128)


@pytest.fixture
def client_of(on_device, server):
    """Function that makes a client of a mode."""
    cloud = Server(server.url, "classification", BUDGET)
    yield lambda mode, **options: Client(mode, on_device, cloud, **options)
    cloud.close()


def test_the_device_alone_asks_no_server(client_of, server):
    result = client_of(Mode.DEVICE).predict(UNSURE)

    assert (result.by, result.asked, result.sent) == ("device", False, 0) and server.pictures == []


def test_the_cloud_alone_answers_everything(client_of, server):
    result = client_of(Mode.CLOUD).predict(SURE)

    assert (result.by, result.device, result.answer.label) == ("cloud", None, "bright")
    assert server.pictures == [SURE] and result.sent > len(SURE)


def test_an_unsure_device_asks_the_cloud_and_a_sure_one_does_not(client_of, server):
    server.label = "dark"
    sure, unsure = client_of(Mode.ESCALATE).predict_all([SURE, UNSURE])

    assert (sure.by, sure.asked) == ("device", False)
    assert (unsure.by, unsure.answer.label, unsure.disagree) == ("cloud", "dark", unsure.device.label != "dark")
    assert server.pictures == [UNSURE]


def test_a_threshold_that_is_chosen_counts_instead_of_the_models(client_of, server):
    assert client_of(Mode.ESCALATE, threshold=0.0).predict(UNSURE).by == "device"
    assert client_of(Mode.ESCALATE, threshold=1.0).predict(SURE).by == "cloud"


def test_in_layers_the_cloud_is_asked_for_a_yes_only(client_of, server):
    client = client_of(Mode.LAYERED, question=["bright"])

    yes, no = client.predict_all([plain(250), plain(10)])

    assert (yes.yes, yes.by) == (True, "cloud")
    assert (no.yes, no.by, no.answer.label) == (False, "device", "dark")
    assert server.pictures == [plain(250)]


@pytest.mark.parametrize(
    "fault, why",
    [
        (faulty.never, "no answer within 1 s"),
        (faulty.trickles, "no answer within 1 s"),
        (faulty.hangs_up, "cannot be reached"),
        (faulty.answers(429, "busy", Retry_After="30"), "answers 429: busy"),
        (faulty.answers(503), "answers 503"),
        (faulty.answers(404), "answers 404"),
        (faulty.answers(302, Location="http://127.0.0.1:1/"), "answers 302"),
        (faulty.answers(200, "<html>"), "cannot be read"),
        (faulty.answers(200, '{"predictions": []}'), "cannot be read"),
        (faulty.answers(200, '{"predictions": [{"label": 3, "confidence": 0.9}]}'), "cannot be read"),
        (faulty.answers(200, '{"predictions": [{"label": "a", "confidence": NaN}]}'), "cannot be read"),
        (faulty.answers(200, "[" * 100_000), "cannot be read"),
    ],
)
def test_the_device_answers_within_the_budget_where_the_server_does_not(client_of, server, fault, why):
    server.fault = fault
    began = time.monotonic()

    result = client_of(Mode.ESCALATE).predict(UNSURE)

    assert result.by == "device" and result.wanted and result.asked and why in result.problem
    assert time.monotonic() - began < BUDGET + BUSY and result.seconds < BUDGET + BUSY


def test_without_a_server_the_device_answers_at_once_and_asks_again_later(client_of, server):
    server.stop()
    client = client_of(Mode.ESCALATE, rest=Rest(clock=lambda: 100.0))

    first, *others = client.predict_all([UNSURE] * 20, together=1)

    assert first.asked and "cannot be reached" in first.problem
    assert all(result.by == "device" and not result.asked for result in others)
    assert "again so soon" in others[0].problem and others[0].seconds < BUDGET


def test_an_overloaded_server_is_asked_again_within_the_budget(on_device, server):
    async def once(request):
        server.fault = None
        return await faulty.answers(503)(request)

    server.fault = once
    cloud = Server(server.url, "classification", 30)

    result = Client(Mode.ESCALATE, on_device, cloud).predict(UNSURE)

    cloud.close()
    assert result.by == "cloud" and len(server.pictures) == 2


def test_a_refused_picture_does_not_stop_the_next_one(client_of, server):
    server.fault = faulty.answers(413, "too large")
    client = client_of(Mode.ESCALATE)
    assert client.predict(UNSURE).problem == "the server answers 413: too large"

    server.fault = None

    assert client.predict(UNSURE).by == "cloud"


def test_the_cloud_alone_stays_without_an_answer_and_says_why(client_of, server):
    server.fault = faulty.answers(500, "broken")

    result = client_of(Mode.CLOUD).predict(SURE)

    assert result.answer is None and result.problem == "the server answers 500: broken"


@pytest.mark.parametrize("mode, data", [(Mode.ESCALATE, b"no picture"), (Mode.CLOUD, bytes((64 << 20) + 1))])
def test_what_is_no_picture_is_not_sent(client_of, server, mode, data):
    result = client_of(mode).predict(data)

    assert result.answer is None and result.problem and server.pictures == []


def test_a_server_that_fails_is_left_alone_for_longer_each_time_and_not_after_an_answer():
    now = [100.0]
    rest = Rest(clock=lambda: now[0])

    def asked_after() -> float:
        rest.failed(Unanswered("away"))
        rest.failed(Unanswered("away"))  # was under way at the same time
        began = now[0]
        while rest.why:
            now[0] += 0.5
        return now[0] - began

    assert [asked_after() for _ in range(8)] == [1, 2, 4, 8, 16, 32, 60, 60]
    rest.answered()
    assert asked_after() == 1
    rest.failed(Unanswered("busy", retry_after=30))
    now[0] += 29
    assert rest.why == "busy"
    now[0] += 1
    assert rest.why == ""
    rest.failed(Unanswered("this picture", rests=False))
    assert rest.why == ""


def test_the_program_of_the_page_runs(published, server, tmp_path, monkeypatch, capsys):
    (program,) = commands("docs/devices.md#use-both-from-python", "python")
    put(tmp_path, {"device-public-key.pem": published.key.public.encode(), "photograph.jpg": jpeg(3)})
    monkeypatch.chdir(tmp_path)

    exec(program.replace("http://127.0.0.1:8080", server.url), {})

    assert capsys.readouterr().out.split()[0] in ("bright", "dark")
