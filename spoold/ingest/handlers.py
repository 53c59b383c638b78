"""Who answers which method, and how a call's message comes to it: in turn (``intake.py``)."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NoReturn, TypeAlias

import grpc
from google.protobuf.message import DecodeError

from spoold.errors import SpooldError
from spoold.ingest.intake import BusyError, Intake

MethodHandler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
_Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Refuse: TypeAlias = Callable[[_Context, BaseException], Awaitable[NoReturn]]

#: Calls that last: health watches and reflection. More are refused, so that they never take the place of events.
_MAX_LASTING_CALLS = 128


class Handlers(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # generic in the stubs alone
    """All methods in one table.

    Generated code adds each service twice, and grpcio waits anew for each registered method at each call: with
    health and reflection registered a call costs a few microseconds more. One generic handler is one wait.

    Each method is told to grpcio as one that takes a stream: of such a one it reads no message before it is asked to.
    On the wire there is no difference.

    Args:
        refuse: Ends a call with the status that an error stands for.
    """

    def __init__(self, intake: Intake, refuse: Refuse) -> None:
        self._intake = intake
        self._refuse = refuse
        self._methods: dict[str, MethodHandler] = {}
        self._lasting = 0

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "MethodHandler | None":
        """Who answers a call."""
        return self._methods.get(handler_call_details.method)

    def add_generic_rpc_handlers(self, _handlers: object) -> None:
        """Do nothing: the same methods come by the other call."""

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, MethodHandler]) -> None:
        """Take a service's methods into the table."""
        for name, handler in handlers.items():
            self._methods[f"/{service}/{name}"] = self._in_turn(handler)

    def _in_turn(self, handler: MethodHandler) -> MethodHandler:
        decode = handler.request_deserializer or bytes
        if handler.unary_unary is not None:
            answer = self._single(handler.unary_unary, decode)
            return grpc.stream_unary_rpc_method_handler(answer, response_serializer=handler.response_serializer)
        if handler.unary_stream is not None:
            lasting = self._watch(handler.unary_stream, decode)
        else:
            lasting = self._dialogue(handler.stream_stream, decode)
        return grpc.stream_stream_rpc_method_handler(lasting, response_serializer=handler.response_serializer)

    def _single(self, handle: Any, decode: Callable[[bytes], Any]) -> Any:
        intake = self._intake

        async def answer(_requests: object, context: _Context) -> Any:
            with intake.passage() as passage:
                try:
                    # Handed over without a name here: what the handler lets go of is gone.
                    waiting = handle(decode(await passage.receive(context)), context)
                except (SpooldError, DecodeError) as exc:
                    await self._refuse(context, exc)
                reply = await waiting
                passage.leave()
            return reply

        return answer

    def _watch(self, handle: Any, decode: Callable[[bytes], Any]) -> Any:
        async def watch(_requests: object, context: _Context) -> None:
            try:
                with self._place(), self._intake.passage() as passage:
                    request = decode(await passage.receive(context))
                    passage.release()
                    await handle(request, context)
            except (SpooldError, DecodeError) as exc:
                await self._refuse(context, exc)

        return watch

    def _dialogue(self, handle: Any, decode: Callable[[bytes], Any]) -> Any:
        async def requests(context: _Context) -> AsyncIterator[Any]:
            with self._intake.passage() as passage:
                while (request := await passage.receive_next(context)) is not None:
                    yield decode(request)

        async def talk(_requests: object, context: _Context) -> AsyncIterator[Any]:
            try:
                with self._place():
                    async for reply in handle(requests(context), context):
                        yield reply
            except (SpooldError, DecodeError) as exc:
                await self._refuse(context, exc)

        return talk

    @contextmanager
    def _place(self) -> Iterator[None]:
        if self._lasting == _MAX_LASTING_CALLS:
            raise BusyError(f"{_MAX_LASTING_CALLS} health watches and the like are open; close some")
        self._lasting += 1
        try:
            yield
        finally:
            self._lasting -= 1
