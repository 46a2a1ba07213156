"""OAuth: access tokens for service accounts and federated identities, verified as Google does."""

import base64
import calendar
import hashlib
import json
import pathlib
import secrets
import threading
import time
import urllib.parse
from typing import TYPE_CHECKING, Any, NamedTuple

import google.auth.crypt
import google.auth.exceptions
import google.auth.jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from grpc import StatusCode

from tests.emulators import federation
from tests.emulators.federation import NotExchanged
from tests.emulators.services import JSON, Caller, Refused, Request, Response, Route, Service

if TYPE_CHECKING:
    from tests.emulators.cloud import Cloud

JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
TOKEN_URIS = (
    "https://oauth2.googleapis.com/token",
    "https://www.googleapis.com/oauth2/v3/token",
    "https://www.googleapis.com/oauth2/v4/token",
)
CLOUD_PLATFORM = "https://www.googleapis.com/auth/cloud-platform"
LIFETIME = 3600  # seconds


class Key(NamedTuple):
    """An RSA key pair as PEM."""

    private: str
    public: str


class Token(NamedTuple):
    """Principal, scopes and expiry (seconds since the epoch) of an access token."""

    principal: str
    scopes: frozenset[str]
    ends: float


def make_key() -> Key:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return Key(private.decode(), public.decode())


class OAuth(Service):
    """Token endpoint, Security Token Service and IAM credentials."""

    name = "oauth"
    scopes = (*Service.scopes, "https://www.googleapis.com/auth/iam")
    hosts = ("oauth2.googleapis.com", "sts.googleapis.com", "iamcredentials.googleapis.com", "www.googleapis.com")

    def __init__(self, cloud: "Cloud"):
        self._cloud, self._project, self._folder = cloud, cloud.project, cloud.folder
        self._lock = threading.Lock()
        self._keys: dict[str, Key] = {}  # of service accounts
        self._issuers: dict[str, Key] = {}  # of external identity providers, such as GitHub
        self._sets: dict[str, frozenset[str]] = {}  # of federated identities, by principal
        self._tokens: dict[str, Token] = {}
        self._expired: set[str] = set()

    def reset(self) -> None:
        # Self-signed tokens of one second are equal: a token of the next test may be one that the last test expired.
        self._expired.clear()

    def key_file(self, account: str) -> pathlib.Path:
        """Path of a service account's key file in Google's format; creates the account if necessary."""
        path = self._folder / f"{account}.json"
        if account not in self._keys:
            self._keys[account] = make_key()
            written = {
                "type": "service_account",
                "project_id": self._project,
                "private_key_id": "1",
                "private_key": self._keys[account].private,
                "client_email": account,
                "client_id": "1",
                "token_uri": TOKEN_URIS[0],
            }
            path.touch(mode=0o600)
            path.write_text(json.dumps(written))
        return path

    def identity(self, issuer: str, subject: str, audience: str, **more: str) -> str:
        """A token of an external identity provider, such as GitHub, with more claims about the subject."""
        key = self._issuers.setdefault(issuer, make_key())
        now = int(time.time())
        claims = {"iss": issuer, "sub": subject, "aud": audience, "iat": now, "exp": now + LIFETIME, **more}
        return google.auth.jwt.encode(google.auth.crypt.RSASigner.from_string(key.private), claims).decode()

    def expire_all(self) -> None:
        """Expires all issued tokens."""
        with self._lock:
            self._expired.update(self._tokens)

    def token_of(self, authorization: str, expire: bool = False) -> Token:
        """The token in a request's Authorization header; raises Refused when it is invalid."""
        scheme, _, token = authorization.partition(" ")
        if expire:
            self._expired.add(token)
        known = self._tokens.get(token)
        if known is None and token.count(".") == 2:
            known = self._tokens[token] = self._self_signed(token)
        if scheme.lower() != "bearer" or known is None or known.ends < time.time() or token in self._expired:
            raise Refused(
                StatusCode.UNAUTHENTICATED,
                "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other "
                "valid authentication credential.",
            )
        return known

    def _self_signed(self, token: str) -> Token:
        """The token that gRPC clients create themselves, signed with their account's key."""
        claims = self._claims(token)
        account = claims.get("iss", "")
        if claims.get("sub") != account or not ("scope" in claims or claims.get("aud", "").startswith("https://")):
            raise Refused(StatusCode.UNAUTHENTICATED, "A self-signed token needs iss, sub, and aud or scope.")
        scopes = frozenset(claims.get("scope", CLOUD_PLATFORM).split())
        return Token(account, scopes, claims["exp"])

    def _claims(self, token: str) -> dict[str, Any]:
        """Claims of a token signed by a service account; raises Refused for an invalid signature."""
        try:
            account = google.auth.jwt.decode(token, verify=False).get("iss", "")
            if account not in self._keys:
                raise Refused(StatusCode.UNAUTHENTICATED, f"Account {account!r} does not exist.")
            claims = dict(google.auth.jwt.decode(token, self._keys[account].public))
        except (ValueError, google.auth.exceptions.GoogleAuthError) as error:
            raise Refused(StatusCode.UNAUTHENTICATED, f"Invalid JWT Signature: {error}") from None
        if claims["exp"] - claims["iat"] > LIFETIME:
            raise Refused(StatusCode.UNAUTHENTICATED, "Token must be a short-lived token (60 minutes).")
        return claims

    def issue(self, principal: str, scopes: str) -> str:
        """A new access token; `scopes` are separated by spaces."""
        token = "ya29.local-" + secrets.token_urlsafe(24)
        with self._lock:
            self._tokens[token] = Token(principal, frozenset(scopes.split()), time.time() + LIFETIME)
        return token

    def routes(self) -> list[Route]:
        return [
            Route("POST", "/token", "token", self.token, authenticated=False),
            Route("POST", "/oauth2/v3/token", "token", self.token, authenticated=False),
            Route("POST", "/oauth2/v4/token", "token", self.token, authenticated=False),
            Route("POST", "/v1/token", "exchange", self.exchange, authenticated=False),
            Route(
                "POST",
                "/v1/projects/-/serviceAccounts/{account}:generateAccessToken",
                "generateAccessToken",
                self.impersonate,
            ),
            Route("POST", "/v1/projects/-/serviceAccounts/{account}:signBlob", "signBlob", self.sign),
            Route(
                "GET",
                "/v1/projects/-/serviceAccounts/{account}/allowedLocations",
                "locations",
                self.locations,
                authenticated=False,
            ),
        ]

    def token(self, request: Request, caller: Caller) -> Response | dict[str, Any]:
        """Exchanges a service account's signed assertion for an access token."""
        form = _form(request)
        if form.get("grant_type") != JWT_BEARER:
            return _oauth_error("unsupported_grant_type", f"Invalid grant_type: {form.get('grant_type')}")
        try:
            claims = self._claims(form.get("assertion", ""))
        except Refused as refused:
            return _oauth_error("invalid_grant", refused.message)
        if claims.get("aud") not in TOKEN_URIS:
            return _oauth_error("invalid_grant", f"Invalid JWT: aud is {claims.get('aud')!r}.")
        if not claims.get("scope"):
            return _oauth_error("invalid_scope", "Empty or missing scope not allowed.")
        return {
            "access_token": self.issue(claims["iss"], claims["scope"]),
            "expires_in": LIFETIME - 1,
            "token_type": "Bearer",
        }

    def exchange(self, request: Request, caller: Caller) -> Response | dict[str, Any]:
        """Exchanges an external identity provider's token for a federated token (Workload Identity Federation)."""
        form = _form(request)
        if form.get("grant_type", form.get("grantType")) != TOKEN_EXCHANGE:
            return _oauth_error("unsupported_grant_type", "Invalid grant_type.")
        try:
            issuer = google.auth.jwt.decode(form.get("subject_token", ""), verify=False).get("iss", "")
            if issuer not in self._issuers:
                return _oauth_error("invalid_target", f"The issuer {issuer!r} is not trusted.")
            claims = google.auth.jwt.decode(form["subject_token"], self._issuers[issuer].public)
        except (ValueError, google.auth.exceptions.GoogleAuthError) as error:
            return _oauth_error("invalid_grant", f"ID Token: {error}")
        try:
            found = federation.identity(self._cloud, form.get("audience", ""), claims)
        except NotExchanged as refused:
            return _oauth_error(refused.error, str(refused))
        self._sets[found.principal] = found.sets
        return {
            "access_token": self.issue(found.principal, form.get("scope", "")),
            "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
            "token_type": "Bearer",
            "expires_in": LIFETIME - 1,
        }

    def impersonate(self, request: Request, caller: Caller, account: str) -> dict[str, Any]:
        """An access token of a service account, for a caller that may act as it, itself or as one of a set.

        https://cloud.google.com/iam/docs/workload-identity-federation-with-deployment-pipelines#access
        """
        federation.demand_enabled(self._cloud, "iamcredentials.googleapis.com")
        callers = [caller.principal, *self._sets.get(caller.principal, ())]
        permission, resource = "iam.serviceAccounts.getAccessToken", f"serviceAccounts/{account}"
        if not any(self._cloud.policies.allowed(each, resource, [permission]) for each in callers):
            message = f"Permission '{permission}' denied on resource (or it may not exist)."
            raise Refused(StatusCode.PERMISSION_DENIED, message)
        self.key_file(account)
        body = request.json()
        unknown = set(body) - {"scope", "lifetime", "delegates"}
        if unknown or not body.get("scope"):
            raise Refused(StatusCode.INVALID_ARGUMENT, f"Scope required; unknown: {sorted(unknown)}")
        ends = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + LIFETIME))
        return {"accessToken": self.issue(account, " ".join(body["scope"])), "expireTime": ends}

    def sign(self, request: Request, caller: Caller, account: str) -> dict[str, Any]:
        """Bytes signed with a service account's key; every caller may sign for every account."""
        body = request.json()
        if account not in self._keys or set(body) - {"payload", "delegates"}:
            raise Refused(StatusCode.INVALID_ARGUMENT, f"Unknown account {account}, or fields of {sorted(body)}")
        signer = google.auth.crypt.RSASigner.from_string(self._keys[account].private)
        return {
            "keyId": "1",
            "signedBlob": base64.b64encode(signer.sign(base64.b64decode(body["payload"]))).decode(),
        }

    def signed(self, account: str, url: urllib.parse.SplitResult, query: dict[str, str]) -> bool:
        """True for a URL of Cloud Storage that a service account has signed for GET, and that has not expired.

        https://cloud.google.com/storage/docs/authentication/signatures
        """
        signature, moment = query.pop("X-Goog-Signature", ""), query.get("X-Goog-Date", "")
        if account not in self._keys or query.get("X-Goog-SignedHeaders") != "host":
            return False
        parameters = "&".join(
            f"{urllib.parse.quote(name, safe='')}={urllib.parse.quote(value, safe='')}"
            for name, value in sorted(query.items())
        )
        asked = f"GET\n{url.path}\n{parameters}\nhost:{url.netloc}\n\nhost\nUNSIGNED-PAYLOAD"
        scope = query["X-Goog-Credential"].partition("/")[2]
        lines = ["GOOG4-RSA-SHA256", moment, scope, hashlib.sha256(asked.encode()).hexdigest()]
        began = calendar.timegm(time.strptime(moment, "%Y%m%dT%H%M%SZ"))
        verifier = google.auth.crypt.RSAVerifier.from_string(self._keys[account].public)
        in_time = began <= time.time() + 1 < began + int(query["X-Goog-Expires"])
        return in_time and verifier.verify("\n".join(lines).encode(), bytes.fromhex(signature))

    def locations(self, request: Request, caller: Caller, account: str) -> dict[str, Any]:
        """The regions in which an account may be used: each client requests them once, with its first call."""
        return {"locations": [], "encodedLocations": "0x0"}


def _form(request: Request) -> dict[str, str]:
    return dict(urllib.parse.parse_qsl(request.body.decode("latin-1")))


def _oauth_error(error: str, description: str) -> Response:
    return Response(400, json.dumps({"error": error, "error_description": description}).encode(), JSON)
