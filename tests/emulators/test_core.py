"""Proxy, tokens, faults and log, used by Google's own clients."""

import json
import socket
import urllib.error
import urllib.request

import google.api_core.exceptions
import google.auth
import google.auth.transport.requests
import pytest
import requests
from google.cloud import secretmanager_v1
from grpc import StatusCode

from tests.emulators.cloud import Cloud
from tests.emulators.services import Refused, Request, Response, Route, Rpc, Service

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
SECRET = "projects/p/secrets/s"


class Toy(Service):
    """A service with one method of gRPC and one of REST on the same host."""

    name = "toy"
    hosts = ("secretmanager.googleapis.com", "*-toy.googleapis.com")

    def __init__(self):
        self.done = 0

    def rpcs(self):
        get = Rpc(secretmanager_v1.GetSecretRequest, secretmanager_v1.Secret, self.get)
        return {"/google.cloud.secretmanager.v1.SecretManagerService/GetSecret": get}

    def get(self, request, caller):
        self.done += 1
        if request.name != SECRET:
            raise Refused(StatusCode.NOT_FOUND, f"Secret [{request.name}] not found.")
        return secretmanager_v1.Secret(name=request.name, labels={"caller": caller.principal})

    def routes(self):
        return [
            Route("GET", "/v1/projects/{project}/secrets", "ListSecrets", self.list),
            Route("POST", "/v1/{name=**}:echo", "Echo", self.echo),
        ]

    def list(self, request: Request, caller, project):
        self.done += 1
        if project == "nowhere":
            raise Refused(StatusCode.NOT_FOUND, "no such project")
        return {"project": project, "caller": caller.principal, "query": request.parameters()}

    def echo(self, request, caller, name):
        return Response(200, request.body, {"X-Name": name})


@pytest.fixture(scope="module")
def servers():
    with Cloud(lambda cloud: {"toy": Toy()}) as cloud:
        yield cloud


@pytest.fixture
def cloud(servers, monkeypatch):
    servers.reset()
    servers.toy.done = 0
    for name, value in servers.environment.items():
        monkeypatch.setenv(name, value)
    return servers


@pytest.fixture
def session(cloud):
    credentials, project = google.auth.default(scopes=[SCOPE])
    assert project == cloud.project
    with google.auth.transport.requests.AuthorizedSession(credentials) as session:
        yield session


LIST = "https://secretmanager.googleapis.com/v1/projects/p/secrets"


def test_one_host_serves_rest_and_grpc(cloud, session):
    with secretmanager_v1.SecretManagerServiceClient() as client:
        secret = client.get_secret(name=SECRET)
    listed = session.get(LIST, params={"a": "b c"}).json()

    assert secret.labels["caller"] == listed["caller"] == cloud.account
    assert listed["project"] == "p" and listed["query"] == {"a": "b c"}
    assert [(asked.method, asked.status) for asked in cloud.asked("toy")] == [("GetSecret", 200), ("ListSecrets", 200)]
    assert cloud.asked("toy", "GetSecret")[0].target == f"name={SECRET}"
    assert not cloud.refused


def test_errors_of_a_service_reach_the_client_in_googles_format(cloud, session):
    with secretmanager_v1.SecretManagerServiceClient() as client:
        with pytest.raises(google.api_core.exceptions.NotFound, match="other"):
            client.get_secret(name="projects/p/secrets/other")
        with pytest.raises(google.api_core.exceptions.MethodNotImplemented):
            client.delete_secret(name=SECRET)
    answer = session.get(LIST.replace("/p/", "/nowhere/"))
    assert answer.status_code == 404 and answer.json()["error"]["status"] == "NOT_FOUND"
    assert session.get(LIST + "/more/of/it").status_code == 404
    assert [asked.status for asked in cloud.asked("toy")] == [404, 501, 404, 404]


def test_another_host_is_refused_and_recorded(cloud):
    with pytest.raises(requests.exceptions.ProxyError):
        requests.get("https://example.com/", timeout=60)
    with pytest.raises(urllib.error.HTTPError, match="403"):  # not urlopen, which keeps the first proxy of its process
        urllib.request.build_opener().open("http://metadata.google.internal/", timeout=60)
    assert cloud.refused == ["example.com:443", "http://metadata.google.internal/"]


def test_a_call_without_a_valid_token_is_refused(cloud):
    for headers in ({}, {"Authorization": "Bearer ya29.made-up"}, {"Authorization": "Bearer a.b.c"}):
        answer = requests.get(LIST, headers=headers, timeout=60)
        assert answer.status_code == 401 and answer.json()["error"]["status"] == "UNAUTHENTICATED"
    assert cloud.toy.done == 0


def test_a_token_without_the_scope_is_refused(cloud):
    credentials, _ = google.auth.default(scopes=["https://www.googleapis.com/auth/devstorage.read_only"])
    with google.auth.transport.requests.AuthorizedSession(credentials) as session:
        answer = session.get(LIST)
    assert answer.status_code == 403 and "insufficient authentication scopes" in answer.text
    assert cloud.toy.done == 0


def test_an_assertion_signed_with_another_key_gets_no_token(cloud, tmp_path):
    key = json.loads(cloud.oauth.key_file("other@spanloop-local.iam.gserviceaccount.com").read_text())
    forged = tmp_path / "forged.json"
    forged.write_text(json.dumps(key | {"client_email": cloud.account}))
    credentials, _ = google.auth.load_credentials_from_file(str(forged), scopes=[SCOPE])
    with pytest.raises(google.auth.exceptions.RefreshError, match="signature"):
        credentials.refresh(google.auth.transport.requests.Request())


def test_a_client_gets_a_new_token_for_one_that_has_expired(cloud, session):
    session.get(LIST)
    cloud.faults.add("toy", "ListSecrets", kind="expire")
    assert session.get(LIST).status_code == 200
    assert [asked.status for asked in cloud.asked("toy")] == [200, 401, 200]
    assert len(cloud.asked("oauth", "token")) == 2

    cloud.oauth.expire_all()
    assert session.get(LIST).status_code == 200
    assert len(cloud.asked("oauth", "token")) == 3


def test_a_token_that_expired_in_one_test_is_valid_in_the_next(cloud):
    with secretmanager_v1.SecretManagerServiceClient() as client:
        client.get_secret(name=SECRET, retry=None)
        cloud.oauth.expire_all()
        with pytest.raises(google.api_core.exceptions.Unauthenticated):
            client.get_secret(name=SECRET, retry=None)
        cloud.reset()
        assert client.get_secret(name=SECRET, retry=None).name == SECRET


@pytest.mark.parametrize("kind, status, done", [("429", 429, 0), ("500", 500, 0), ("503", 503, 0)])
def test_a_fault_refuses_the_nth_call(cloud, session, kind, status, done):
    cloud.faults.add("toy", "List*", nth=2, kind=kind, times=2)
    assert [session.get(LIST).status_code for _ in range(4)] == [200, status, status, 200]
    assert cloud.toy.done == 2


@pytest.mark.parametrize("kind, done", [("cut", 0), ("lose", 1)])
def test_a_connection_closes_before_or_after_the_work(cloud, session, kind, done):
    cloud.faults.add("toy", kind=kind, times=2)
    with pytest.raises(requests.exceptions.ConnectionError):
        session.get(LIST)
    with secretmanager_v1.SecretManagerServiceClient() as client:
        with pytest.raises(google.api_core.exceptions.ServiceUnavailable):
            client.get_secret(name=SECRET, retry=None)
        assert cloud.toy.done == 2 * done
        assert [(asked.fault, asked.status) for asked in cloud.asked("toy")] == [(kind, 0)] * 2
        assert client.get_secret(name=SECRET).name == SECRET


@pytest.mark.parametrize(
    "kind, error",
    [
        ("429", google.api_core.exceptions.ResourceExhausted),
        ("500", google.api_core.exceptions.InternalServerError),
        ("503", google.api_core.exceptions.ServiceUnavailable),
        ("expire", google.api_core.exceptions.Unauthenticated),
    ],
)
def test_grpc_has_the_same_faults(cloud, kind, error):
    cloud.faults.add("toy", kind=kind)
    with secretmanager_v1.SecretManagerServiceClient() as client:
        with pytest.raises(error):
            client.get_secret(name=SECRET, retry=None)
    assert cloud.toy.done == 0


def test_an_unknown_field_is_refused(cloud, session):
    from google.protobuf import empty_pb2

    from tests.emulators.grpc_server import parse

    unknown = empty_pb2.Empty.FromString(b"\xa2\x06\x03abc")  # field 100
    with pytest.raises(Refused, match="does not have"):
        parse(secretmanager_v1.GetSecretRequest, unknown.SerializeToString())
    with pytest.raises(Refused, match="is not a"):
        parse(secretmanager_v1.GetSecretRequest, b"\xff")


def test_bodies_arrive_complete_in_every_transfer_encoding(cloud, session):
    url = "https://europe-west1-toy.googleapis.com/v1/a/b:echo"
    large = bytes(range(256)) * 40_000
    for sent in (b"", large, iter([b"in ", b"parts", large])):
        expected = b"in parts" + large if not isinstance(sent, bytes) else sent
        answer = session.post(url, data=sent, headers={"Expect": "100-continue"})
        assert answer.content == expected and answer.headers["X-Name"] == "a/b"


def test_a_closed_server_accepts_no_connection(tmp_path):
    trust = tmp_path / "trust.pem"
    with requests.Session() as session:
        session.trust_env = False
        session.verify = str(trust)
        with Cloud(lambda cloud: {"toy": Toy()}) as cloud:
            trust.write_bytes(cloud.authority.certificate.read_bytes())
            session.proxies = {"https": cloud.environment["HTTPS_PROXY"]}
            assert session.get(LIST, timeout=60).status_code == 401
        with pytest.raises(requests.exceptions.ConnectionError):
            session.get(LIST, timeout=60)


def test_a_client_that_sends_nothing_blocks_no_other(cloud, session):
    for sent in (b"", b"\x16\x03\x01", b"GET / HTTP/1.1\r\n\r\n", b"nonsense\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", cloud._proxy.port)) as silent:
            silent.sendall(sent)
    assert session.get(LIST).status_code == 200
