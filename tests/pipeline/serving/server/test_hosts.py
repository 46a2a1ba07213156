"""Which host names a server answers for: a page that has its own name resolved to 127.0.0.1 reads nothing."""

import pytest

from pipeline.serving.server.hosts import Hosts
from pipeline.serving.server.protocol import Refusal
from tests.served import Served

OWN = ["localhost", "LOCALHOST:8080", "localhost.", "127.0.0.1:8080", "127.0.0.9", "[::1]:8080", "[::1]", None]
OTHERS = ["evil.example", "evil.example:8080", "localhost.evil.example", "192.168.0.1", "", ":8080", "[::1", "a b"]


def accepted(hosts: Hosts, headers: list[str | None]) -> list[str | None]:
    found = []
    for header in headers:
        try:
            hosts.check(header)
            found.append(header)
        except Refusal as refusal:
            assert refusal.status == 421 and "SERVING_HOSTS" in str(refusal)
    return found


@pytest.mark.parametrize("bound", ["127.0.0.1", "::1", "localhost"])
def test_on_loopback_only_names_of_this_machine_are_accepted(bound):
    assert accepted(Hosts(bound, ""), [*OWN, *OTHERS]) == OWN


def test_a_setting_names_further_hosts():
    named = ["App.Example.com:443", "10.0.0.7", "[fe80::1]:80"]
    for bound in ("127.0.0.1", "0.0.0.0"):
        assert accepted(Hosts(bound, "app.example.com, 10.0.0.7,[fe80::1]"), [*named, *OWN, *OTHERS]) == [*named, *OWN]


def test_a_server_for_other_machines_accepts_any_name_until_some_are_set():
    assert accepted(Hosts("0.0.0.0", ""), OTHERS) == OTHERS
    assert accepted(Hosts("models.example", "app.example"), ["models.example", "app.example", "evil.example"]) == [
        "models.example",
        "app.example",
    ]


def test_a_server_says_that_it_is_not_asked_and_vertex_ai_is_not_refused(device_model_server, bright_or_dark):
    for path in ("/", "/config.json", "/health", "/metrics"):
        assert device_model_server.get(path, Host="evil.example").status == 421
    refused = device_model_server.ask("POST", device_model_server.path, b"{}", Host="evil.example:8080")
    assert refused.status == 421 and "evil.example:8080" in refused.json["error"]
    assert device_model_server.get("/health", Host="localhost:1").status == 200
    with Served(bright_or_dark, "--host", "127.0.0.1", AIP_HTTP_PORT="8080") as server:
        assert server.get("/health", Host="10.1.2.3:8080").status == 200
