"""Long-running operations, which are performed and end after a number of requests for them."""

import itertools
import threading
from collections.abc import Callable
from typing import Any

from google.longrunning import operations_pb2
from google.protobuf import empty_pb2
from grpc import StatusCode

from tests.emulators.services import Caller, Refused, Rpc
from tests.emulators.vertex.names import Names, missing

CODES = {code: code.value[0] for code in StatusCode}


class Operations:
    """Operations by name. Each ends when it was seen `looks` times; the response that starts it counts as the first.

    Getting it, listing it and an error because of it also count. After `hold` no operation ends until `release`. `lock`
    guards all resources that operations change.
    """

    def __init__(self, given: Names) -> None:
        self._names = given
        self.lock = threading.RLock()
        self._numbers = itertools.count(1)
        self.reset()

    def reset(self) -> None:
        with self.lock:
            self.looks = 2
            self._held = False
            self._found: dict[str, operations_pb2.Operation] = {}
            # Times seen so far, the function to perform, and the metadata, which the function may change.
            self._waiting: dict[str, tuple[int, Callable[[], Any], Any]] = {}

    def hold(self) -> None:
        self._held = True

    def release(self) -> None:
        self._held = False

    def start(self, resource: str, metadata: Any, work: Callable[[], Any]) -> operations_pb2.Operation:
        """Starts an operation on a resource; only one may run at a time.

        `work` returns the response and may change `metadata`.
        """
        with self.lock:
            for name in list(self._waiting):
                if name.startswith(f"{resource}/operations/"):
                    self._look(name)
                    raise Refused(
                        StatusCode.FAILED_PRECONDITION,
                        f"There are other operations running on {resource}. Operation(s) are: {name}.",
                    )
            name = f"{resource}/operations/{next(self._numbers)}"
            self._found[name] = operations_pb2.Operation(name=name)
            self._found[name].metadata.Pack(_plain(metadata))
            self._waiting[name] = 0, work, metadata
            return self._look(name)

    def _look(self, name: str, looks: int = 1) -> operations_pb2.Operation:
        """Counts a look at an operation; returns a copy of its state, because it may change before it is sent."""
        if name in self._waiting and not self._held:
            before, work, metadata = self._waiting[name]
            self._waiting[name] = before + looks, work, metadata
            if before + looks >= self.looks:
                del self._waiting[name]
                self._work(self._found[name], work)
                self._found[name].metadata.Pack(_plain(metadata))
        copy = operations_pb2.Operation()
        copy.CopyFrom(self._found[name])
        return copy

    def _work(self, operation: operations_pb2.Operation, work: Callable[[], Any]) -> None:
        try:
            operation.response.Pack(_plain(work()))
        except Refused as refused:
            operation.error.code, operation.error.message = CODES[refused.code], refused.message
        operation.done = True

    def rpcs(self) -> dict[str, Rpc]:
        service, operation = "google.longrunning.Operations", operations_pb2.Operation
        return {
            f"/{service}/GetOperation": Rpc(operations_pb2.GetOperationRequest, operation, self.get),
            f"/{service}/WaitOperation": Rpc(operations_pb2.WaitOperationRequest, operation, self.wait),
            f"/{service}/ListOperations": Rpc(
                operations_pb2.ListOperationsRequest, operations_pb2.ListOperationsResponse, self.list
            ),
            f"/{service}/CancelOperation": Rpc(operations_pb2.CancelOperationRequest, empty_pb2.Empty, self.cancel),
        }

    def get(self, request: Any, caller: Caller) -> operations_pb2.Operation:
        with self.lock:
            return self._look(self._find(request.name, caller))

    def wait(self, request: Any, caller: Caller) -> operations_pb2.Operation:
        """Ends the operation at once unless it is held, since no operation takes time."""
        with self.lock:
            return self._look(self._find(request.name, caller), self.looks)

    def list(self, request: Any, caller: Caller) -> operations_pb2.ListOperationsResponse:
        """Lists operations of a resource, or of a region."""
        parts = request.name.split("/")
        parent = self._names.parent("/".join(parts[:4]), caller)
        prefix = "/".join([parent, *parts[4:], "operations", ""]) if parts[4:] else f"{parent}/"
        with self.lock:
            within = [name for name in self._found if name.startswith(prefix)]
            return operations_pb2.ListOperationsResponse(operations=[self._look(name) for name in within])

    def cancel(self, request: Any, caller: Caller) -> empty_pb2.Empty:
        with self.lock:
            name = self._find(request.name, caller)
            if self._waiting.pop(name, None):
                operation = self._found[name]
                operation.done, operation.error.code, operation.error.message = True, 1, "Operation cancelled."
        return empty_pb2.Empty()

    def _find(self, name: str, caller: Caller) -> str:
        """The full name of an operation; raises Refused when it does not exist."""
        parts = name.split("/")
        whole = "/".join([self._names.parent("/".join(parts[:4]), caller), *parts[4:]])
        if whole not in self._found:
            raise missing(name)
        return whole


def _plain(message: Any) -> Any:
    return type(message).pb(message) if hasattr(type(message), "pb") else message
