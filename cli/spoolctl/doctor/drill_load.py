"""Callers for a drill: each event has an id of the caller's, and a call without an answer is repeated with it."""

import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, Self

import grpc

from spoolctl.client import CHANNEL_OPTIONS
from spoold.api.analytics.v1 import service_pb2, service_pb2_grpc

#: So many calls are under way at once: enough for several events in a commit.
CALLERS = 8
#: What means that nobody knows what became of the call.
_NO_ANSWER = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED)
_CALL_SECONDS = 20.0
_AGAIN_SECONDS = 0.2
EVENT_NAME = "Drill"


class _Door(NamedTuple):
    life: int
    stub: service_pb2_grpc.AnalyticsServiceStub


class Load:
    """``total`` events through the front door, whichever is open.

    Attributes:
        acknowledged: Each id that was answered with success, with the number of kills before that.
        repeats: Calls that had no answer and were made again.
        refusal: What the door said when it would not take an event; ends the load.
    """

    def __init__(self, total: int) -> None:
        self.acknowledged: dict[str, int] = {}
        self.repeats = 0
        self.refusal = ""
        self._pending = iter(range(total))
        self._total = total
        self._door: _Door | None = None
        self._is_over = False
        self._changed = threading.Condition()
        self._threads = [threading.Thread(target=self._call, name=f"drill-{number}") for number in range(CALLERS)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        with self._changed:
            self._is_over = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    @contextmanager
    def door(self, address: str, life: int) -> Iterator[None]:
        """Send to ``address`` from now on, until the end of the context."""
        with grpc.insecure_channel(address, options=CHANNEL_OPTIONS) as channel:
            with self._changed:
                self._door = _Door(life, service_pb2_grpc.AnalyticsServiceStub(channel))
                self._changed.notify_all()
            try:
                yield
            finally:
                with self._changed:
                    self._door = None

    def wait_for(self, count: int, look: Callable[[int], None]) -> None:
        """Return when ``count`` events are acknowledged, or one was refused; ``look`` gets how many are, meanwhile."""
        with self._changed:
            while len(self.acknowledged) < count and not self.refusal:
                self._changed.wait(_AGAIN_SECONDS)
                look(len(self.acknowledged))

    def _call(self) -> None:
        while (request := self._next()) is not None:
            while not self._try(request):
                with self._changed:
                    if self._is_over or self.refusal:
                        return
                    self.repeats += 1
                    # The same door may only have been slow; a new one tells everybody.
                    self._changed.wait(_AGAIN_SECONDS)

    def _next(self) -> service_pb2.TrackEventRequest | None:
        with self._changed:
            number = None if self._is_over or self.refusal else next(self._pending, None)
        if number is None:
            return None
        request = service_pb2.TrackEventRequest(event_name=EVENT_NAME, user_id="drill", event_id=str(uuid.uuid4()))
        # What it must come back with.
        request.properties["id"].string_value = request.event_id
        return request

    def _try(self, request: service_pb2.TrackEventRequest) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._door is not None or self._is_over)
            door = self._door
        if door is None:
            return False
        try:
            door.stub.TrackEvent(request, timeout=_CALL_SECONDS)
        except grpc.RpcError as exc:
            if exc.code() not in _NO_ANSWER:
                with self._changed:
                    self.refusal = f"{exc.code().name}: {exc.details()}"
                    self._changed.notify_all()
            return False
        except ValueError:
            # The channel was closed before the call began.
            return False
        with self._changed:
            self.acknowledged[request.event_id] = door.life
            self._changed.notify_all()
        return True
