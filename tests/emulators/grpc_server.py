"""gRPC server of the services: tables of methods, requests parsed strictly by the real services' types."""

import traceback
import urllib.parse
from concurrent import futures
from typing import Any

import grpc
from grpc import StatusCode

from tests.emulators.authority import Authority
from tests.emulators.gateway import Gateway, Lost
from tests.emulators.services import Call, Refused, Rpc, Service

LARGEST_MESSAGE = 1 << 26
THREADS = 16


def start(service: Service, authority: Authority, host: str) -> tuple[grpc.Server, int]:
    """Starts a server of the service's methods for one host name on a loopback port; returns server and port."""
    options = [
        ("grpc.max_receive_message_length", LARGEST_MESSAGE),
        ("grpc.max_send_message_length", LARGEST_MESSAGE),
        ("grpc.so_reuseport", 0),
    ]
    server = grpc.server(futures.ThreadPoolExecutor(THREADS), handlers=[_Methods(service, host)], options=options)
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([authority.issue([host])]))
    server.start()
    return server, port


class _Methods(grpc.GenericRpcHandler):
    """Dispatches calls to methods."""

    def __init__(self, service: Service, host: str):
        self._name = service.name
        self._host = host
        self._gateway: Gateway = service.gateway
        self._rpcs = service.rpcs()

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        path = details.method
        rpc = self._rpcs.get(path)
        return grpc.unary_unary_rpc_method_handler(lambda body, context: self._perform(path, rpc, body, context))

    def _perform(self, path: str, rpc: Rpc | None, body: bytes, context: grpc.ServicerContext) -> bytes:
        headers = {name: value for name, value in context.invocation_metadata() if isinstance(value, str)}
        target = urllib.parse.unquote(headers.get("x-goog-request-params", ""))
        call = Call(path.rpartition("/")[2], target, lambda caller: _handled(path, rpc, body, caller))
        try:
            return self._gateway.perform(self._name, call, headers, body, self._host)
        except Refused as refused:
            context.abort(refused.code, refused.message)
        except Lost:
            context.abort(StatusCode.UNAVAILABLE, "Socket closed")
        except Exception:
            # A bug in the emulator: UNIMPLEMENTED, because clients do not retry it.
            traceback.print_exc()
            context.abort(StatusCode.UNIMPLEMENTED, traceback.format_exc())


def _handled(path: str, rpc: Rpc | None, body: bytes, caller: Any) -> bytes:
    if rpc is None:
        raise Refused(StatusCode.UNIMPLEMENTED, f"The server has no method {path}.")
    answer = rpc.handler(parse(rpc.request, body), caller)
    if not isinstance(answer, rpc.response):
        raise TypeError(f"{path} returned {type(answer)}, not {rpc.response}")
    plain = rpc.response.pb(answer) if hasattr(rpc.response, "pb") else answer
    return plain.SerializeToString()


def parse(type_: Any, body: bytes) -> Any:
    """Parses bytes as a message, proto-plus or plain; raises Refused for unknown fields."""
    plus = hasattr(type_, "pb")
    message = type_.pb(type_()) if plus else type_()
    try:
        message.ParseFromString(body)
    except Exception as error:  # each version of protobuf raises its own class
        raise Refused(StatusCode.INVALID_ARGUMENT, f"Request is not a {type_.__name__}: {error}") from None
    size = message.ByteSize()
    message.DiscardUnknownFields()
    if message.ByteSize() != size:
        raise Refused(StatusCode.INVALID_ARGUMENT, f"Request contains fields that {type_.__name__} does not have.")
    return type_.wrap(message) if plus else message
