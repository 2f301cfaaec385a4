"""Asks masters: whichever answers first of those that are named."""

from __future__ import annotations

import contextlib
import math
import random
import time
from collections.abc import Callable, Generator, Sequence
from types import TracebackType
from typing import Any

import grpc
import msgspec

from qanat.control.operations import OPERATIONS
from qanat.control.operations.errors import Kind, OperationError
from qanat.errors import ConfigError, NotConnectedError, OutcomeUnknownError, QanatError
from qanat.rpc.options import CONTROL_BYTES_MAX, control_options
from qanat.wire.v1 import control_pb2 as wire

CALL = "/qanat.v1.Admin/Call"
STREAM = "/qanat.v1.Admin/Stream"

CONNECT_S_MAX = 3.0  # a master that does not accept a connection by then is as good as dead
# A change is tried again for as long as the store may be away.
CALL_S_MAX = 60.0
# On top: a statement of 100 characters is checked in 1 ms, on a busy host in five; so many seconds a byte make it ten.
CALL_S_PER_BYTE = 1e-4

# What a plan says of a text this large, each statement as it was and as it will be, still fits into a reply.
REQUEST_BYTES_MAX = CONTROL_BYTES_MAX // 4

# Nodes of a dead master are attached elsewhere within 5 s, after a while without any master within 10 s more.
FOLLOW_S_MAX, FOLLOW_PAUSE_S = 30.0, 0.5


class MasterClient:
    """A context manager. *Blocking*: every method. `author`: who is named in the history; `first`: of the masters, asked before
    the others; `connect_s` to one master and `call_s` at most.

    A master that can't be reached is passed over; one that was asked and did not answer is not, since the change may have been
    made: OutcomeUnknownError."""

    def __init__(
        self,
        masters: Sequence[str],
        author: str,
        *,
        first: str = "",
        connect_s: float = CONNECT_S_MAX,
        call_s: float = CALL_S_MAX,
    ) -> None:
        self.master = ""  # the address of the one that answers
        self.is_stale = False  # what it said last may be old: the store does not answer it
        shuffled = random.sample(list(masters), len(masters))
        self._masters = sorted(
            shuffled, key=lambda address: address != first
        )  # a stable sort: the rest stays shuffled
        self._connect_s, self._call_s = connect_s, call_s
        self._author = author
        self._channel: grpc.Channel | None = None

    def __enter__(self) -> MasterClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._channel is not None:
            self._channel.close()

    def call(self, method: str, request: msgspec.Struct) -> Any:
        """The operation's reply. Raises what `_raise` says, NotConnectedError, OutcomeUnknownError."""
        call = self._connected().unary_unary(
            CALL,
            request_serializer=wire.CallRequest.SerializeToString,
            response_deserializer=wire.CallReply.FromString,
        )
        try:
            asked = self._request(method, request)
            allowed_s = self._call_s + len(asked.arguments_json) * CALL_S_PER_BYTE
            reply = call(asked, timeout=allowed_s)
        except grpc.RpcError as error:
            raise self._broken(method, error) from error
        return self._result(method, reply)

    def stream(self, method: str, request: msgspec.Struct) -> Generator[Any, None, None]:
        """The operation's replies, until it ends or the iterator is closed."""
        call = self._connected().unary_stream(
            STREAM,
            request_serializer=wire.CallRequest.SerializeToString,
            response_deserializer=wire.CallReply.FromString,
        )(self._request(method, request))
        try:
            for reply in call:
                yield self._result(method, reply)
        except grpc.RpcError as error:
            raise self._broken(method, error) from error
        finally:
            call.cancel()

    def follow(
        self, method: str, left: Callable[[], msgspec.Struct | None], lost: Callable[[str], None]
    ) -> Generator[Any, None, None]:
        """As `stream`, and when its master goes away once it has answered, what is `left` to ask for is asked of the others;
        None: nothing. `lost` is told why. Raises what the last attempt did after `FOLLOW_S_MAX` without an answer."""
        has_answered, lost_s = False, math.inf
        failure: QanatError | None = None
        while (request := left()) is not None:
            try:
                with contextlib.closing(self.stream(method, request)) as replies:
                    for reply in replies:
                        has_answered, lost_s, failure = True, math.inf, None
                        yield reply
                return
            except (NotConnectedError, ConfigError) as error:
                # Right after a master's death its nodes are attached nowhere, so that there may be no such thing to be shown.
                if not has_answered or (isinstance(error, ConfigError) and failure is None):
                    raise
                failure, lost_s = error, min(lost_s, time.monotonic())
                if time.monotonic() - lost_s > FOLLOW_S_MAX:
                    raise
                lost(str(error))
                self._leave()
                time.sleep(FOLLOW_PAUSE_S)
        if failure is not None:
            raise failure

    def _leave(self) -> None:
        """Ask the others before this master."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        self._masters.sort(key=lambda address: address == self.master)

    def _connected(self) -> grpc.Channel:
        if self._channel is not None:
            return self._channel
        for address in self._masters:
            channel = grpc.insecure_channel(address, options=control_options())
            try:
                _wait_until_ready(channel, self._connect_s)
            except TimeoutError:
                channel.close()
                continue
            self.master, self._channel = address, channel
            return channel
        raise NotConnectedError(
            f"no master answers at {', '.join(sorted(self._masters))}; is one running there (qanat master), and is it "
            "this address that --master, QANAT_MASTER or the configuration file should say?"
        )

    def _request(self, method: str, request: msgspec.Struct) -> wire.CallRequest:
        arguments = msgspec.json.encode(request)
        if len(arguments) > REQUEST_BYTES_MAX:
            raise ConfigError(
                f"{method}: a request of {len(arguments)} bytes is more than the {REQUEST_BYTES_MAX} that masters take; nothing "
                "was done. Split the file, a flow at a time"
            )
        return wire.CallRequest(method=method, arguments_json=arguments, author=self._author)

    def _result(self, method: str, reply: wire.CallReply) -> Any:
        if reply.HasField("error"):
            raise _as_error(reply.error)
        self.is_stale = reply.stale
        return msgspec.json.decode(reply.result_json, type=OPERATIONS[method].reply)

    def _broken(self, method: str, error: grpc.RpcError) -> QanatError:
        details = error.details() if isinstance(error, grpc.Call) else str(error)
        if OPERATIONS[method].reads:
            return NotConnectedError(
                f"master {self.master} went away while it was asked ({details}); ask again"
            )
        return OutcomeUnknownError(
            f"master {self.master} did not answer ({details}): {method} may have been done, or not; look with `qanat get` and "
            "`qanat history` before you repeat it"
        )


def _wait_until_ready(channel: grpc.Channel, seconds_max: float) -> None:
    """Raises TimeoutError; early when nobody listens there."""
    deadline_s = time.monotonic() + seconds_max
    states: list[grpc.ChannelConnectivity] = []
    channel.subscribe(states.append, try_to_connect=True)
    try:
        while time.monotonic() < deadline_s:
            if grpc.ChannelConnectivity.READY in states:
                return
            if grpc.ChannelConnectivity.TRANSIENT_FAILURE in states:
                break
            time.sleep(0.005)
    finally:
        channel.unsubscribe(states.append)
    raise TimeoutError


def _as_error(error: wire.CallError) -> QanatError:
    """The exception that says what a script should do."""
    known = {int(kind) for kind in Kind}
    kind = Kind(int(error.kind)) if int(error.kind) in known else Kind.FAILED
    match kind:
        case Kind.USAGE | Kind.NOT_FOUND:
            return ConfigError(*(error.faults or [error.message]))
        case Kind.UNAVAILABLE:
            return NotConnectedError(error.message)
        case Kind.OUTCOME_UNKNOWN:
            return OutcomeUnknownError(error.message)
        case _:
            return OperationError(kind, error.message, tuple(error.faults))
