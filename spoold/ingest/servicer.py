"""What each method of ``analytics.v1.AnalyticsService`` does.

Handlers take the raw message and decode it themselves: grpcio answers UNKNOWN to what it can't decode, and the
journal keeps the request as received anyway. Until the commit nothing is awaited but the commit (I6).
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import NoReturn, Protocol, TypeAlias, TypeVar

import grpc

from spoold.api.analytics.v1 import service_pb2
from spoold.errors import InvalidEventError
from spoold.ingest import replies, wire
from spoold.ingest.bridge import LoopBridge
from spoold.ingest.status import refusal, unimplemented
from spoold.ingest.validation import MAX_DEPTH, Admission, Rules
from spoold.log import Logger, get_logger
from spoold.metrics import Metrics
from spoold.record import Kind, format_uuid
from spoold.spool.contract import Journal
from spoold.spool.values import Receipt

SERVICE = "analytics.v1.AnalyticsService"

#: Largest message, in bytes. The transport takes somewhat more (``intake.py``), so that a message somewhat too large
#: gets this rule's violation and not the transport's own status, which looks like a full spool.
MAX_MESSAGE_BYTES = 4 * 1024 * 1024

#: Items in one ``TrackBatch``.
MAX_BATCH_ITEMS = 1_000

#: Largest batch that is decoded as a whole, in bytes: that takes some 25 times as much.
_MAX_ODD_BYTES = 1_048_576

#: Characters of what is said about one item: a thousand of them go into one reply.
_MAX_ERROR_CHARACTERS = 500

M = TypeVar("M")
M_contra = TypeVar("M_contra", contravariant=True)

Context: TypeAlias = "grpc.aio.ServicerContext[bytes, bytes]"
Handler = Callable[[bytes, Context], Awaitable[bytes]]
_Group = list[tuple[Sequence[Admission], list[Receipt] | BaseException]]


class _Admit(Protocol[M_contra]):
    def __call__(self, body: bytes, message: M_contra, /, *, is_plain: bool) -> Admission: ...


class AnalyticsServicer:
    """The handlers. All of it runs on the loop's thread.

    Args:
        journal: Where accepted events go.
        rules: What makes an event acceptable.
        metrics: Counts what was accepted and refused.
        condition: ``healthy``, ``degraded``, ``full`` or ``draining``; must not block.
        queue_size: Events that wait for delivery, for the log; asked only when debug messages are on.
        loop: The loop that runs the handlers.
    """

    def __init__(
        self,
        journal: Journal,
        rules: Rules,
        metrics: Metrics,
        *,
        condition: Callable[[], str],
        queue_size: Callable[[], int],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._journal = journal
        self._rules = rules
        self._metrics = metrics
        self._condition = condition
        self._queue_size = queue_size
        self._log = get_logger("ingest")
        self._bridge: LoopBridge[list[Receipt], Sequence[Admission]] = LoopBridge(loop, self._account)
        self._accepted_tracks = metrics.events_accepted.labels("track")
        self._accepted_identifies = metrics.events_accepted.labels("identify")

    def handlers(self) -> dict[str, Handler]:
        """Each method's handler, by the method's name."""
        return {
            "TrackEvent": self._single(service_pb2.TrackEventRequest.FromString, self._rules.track),
            "IdentifyUser": self._single(service_pb2.IdentifyUserRequest.FromString, self._rules.identify),
            "TrackBatch": self.track_batch,
            "GetEventCount": self.count,
            "GetUserCount": self.count,
            "HealthCheck": self.health_check,
        }

    def _single(self, decode: Callable[[bytes], M], admit: "_Admit[M]") -> Handler:
        """The handler of a method that takes one event; its reply means that the event is on disk."""

        async def handle(request: bytes, context: Context) -> bytes:
            try:
                _check_size(request)
                self._rules.check_bytes(request)
                is_plain = wire.is_plain(request, max_depth=MAX_DEPTH)
                admission = admit(request, decode(request), is_plain=is_plain)
                outcome = await self._bridge.wait(self._journal.append((admission[0],)), (admission,))
            except Exception as exc:  # noqa: BLE001  # the door: here every error ends and becomes a status
                await self.refuse(context, exc)
            if isinstance(outcome, BaseException):
                await self.refuse(context, outcome)
            return replies.accepted(outcome[0].event_id)

        return handle

    async def track_batch(self, request: bytes, context: Context) -> bytes:
        """Accept what is good in a batch, with one commit; the reply says for each item what became of it."""
        events = 1
        try:
            _check_size(request)
            admissions, errors = self._admit_items(request)
            # The items have their own bytes: megabytes less while they wait for the disk.
            del request
            events = len(admissions)
            outcome: list[Receipt] | BaseException = []
            if admissions:
                outcome = await self._bridge.wait(self._journal.append([draft for draft, _ in admissions]), admissions)
        except Exception as exc:  # noqa: BLE001  # the door, as above
            await self.refuse(context, exc, events)
        if isinstance(outcome, BaseException):
            await self.refuse(context, outcome, events)
        event_ids = [receipt.event_id for receipt in outcome]
        return replies.mixed_batch(event_ids, errors) if errors else replies.accepted_batch(event_ids)

    async def count(self, request: bytes, context: Context) -> bytes:  # noqa: ARG002  # no part of it matters yet
        """Refuse: the counts are not kept yet."""
        answer = unimplemented("spoold does not keep counts yet; ask the analytics provider")
        await context.abort(answer.code, answer.message, answer.trailing_metadata)

    async def health_check(self, request: bytes, context: Context) -> bytes:
        """Say how the daemon is."""
        try:
            service_pb2.HealthCheckRequest.FromString(request)
            return service_pb2.HealthCheckResponse(status=self._condition()).SerializeToString()
        except Exception as exc:  # noqa: BLE001  # the door, as above
            await self.refuse(context, exc, events=0)

    def _admit_items(self, request: bytes) -> tuple[list[Admission], dict[int, str]]:
        """The good items in order, and what is wrong with the others by index."""
        items = wire.slice_items(request, MAX_BATCH_ITEMS)
        if items is None:
            items = _decode_items(request)
        if not 1 <= len(items) <= MAX_BATCH_ITEMS:
            holds = len(items) if len(items) <= MAX_BATCH_ITEMS else "more"
            raise InvalidEventError([("items", f"must hold 1 to {MAX_BATCH_ITEMS} items, holds {holds}")])
        is_plain = wire.is_plain(request, max_depth=MAX_DEPTH)
        admissions: list[Admission] = []
        errors: dict[int, str] = {}
        for index, (kind, body) in enumerate(items):
            try:
                admissions.append(self._admit_item(kind, body, is_plain=is_plain))
            except InvalidEventError as exc:
                path = f"items[{index}].{kind}" if kind else f"items[{index}]"
                text = "; ".join(f"{path}.{field}: {reason}" for field, reason in exc.violations)
                errors[index] = text if len(text) <= _MAX_ERROR_CHARACTERS else text[:_MAX_ERROR_CHARACTERS] + "…"
        if errors:
            self._metrics.events_refused.labels("invalid").inc(len(errors))
        return admissions, errors

    def _admit_item(self, kind: Kind | None, body: bytes, *, is_plain: bool) -> Admission:
        self._rules.check_bytes(body)
        if kind is None:
            kind, body = _serialise(service_pb2.BatchItem.FromString(body))
        is_plain = is_plain or wire.is_plain(body, max_depth=MAX_DEPTH)
        if kind == "track":
            return self._rules.track(body, service_pb2.TrackEventRequest.FromString(body), is_plain=is_plain)
        return self._rules.identify(body, service_pb2.IdentifyUserRequest.FromString(body), is_plain=is_plain)

    async def refuse(self, context: Context, error: BaseException, events: int = 1) -> NoReturn:
        """End the call with the status that ``error`` stands for."""
        answer = refusal(error)
        if events:
            self._metrics.events_refused.labels(answer.reason).inc(events)
        if not answer.is_expected:
            self._log.error("unexpected error at the door", exc_info=error)
        await context.abort(answer.code, answer.message, answer.trailing_metadata)

    def _account(self, group: _Group) -> None:
        """Count what one commit made durable. Here and not in the handlers: their calls may have been cancelled."""
        tracks = identifies = duplicates = ahead = 0
        for admissions, outcome in group:
            if isinstance(outcome, BaseException):
                continue
            for (draft, is_ahead), receipt in zip(admissions, outcome, strict=True):
                if receipt.duplicate:
                    duplicates += 1
                    continue
                ahead += is_ahead
                if draft.kind == "track":
                    tracks += 1
                else:
                    identifies += 1
        for counter, events in (
            (self._accepted_tracks, tracks),
            (self._accepted_identifies, identifies),
            (self._metrics.events_duplicate, duplicates),
            (self._metrics.events_from_the_future, ahead),
        ):
            if events:
                counter.inc(events)
        if Logger.threshold <= logging.DEBUG:
            self._log_queued(group)

    def _log_queued(self, group: _Group) -> None:
        for _, outcome in group:
            if not isinstance(outcome, BaseException):
                for receipt in outcome:
                    self._log.debug(
                        "event queued",
                        queue_size=self._queue_size(),
                        event_id=format_uuid(receipt.event_id),
                        duplicate=receipt.duplicate,
                    )


def _check_size(request: bytes) -> None:
    if len(request) > MAX_MESSAGE_BYTES:
        raise InvalidEventError([("request", f"must have at most {MAX_MESSAGE_BYTES} bytes, has {len(request)}")])


def _decode_items(request: bytes) -> list[tuple[Kind | None, bytes]]:
    """The items of a batch that is more than items, or no message."""
    if len(request) > _MAX_ODD_BYTES:
        raise InvalidEventError(
            [("request", f"is not a valid message, or holds unknown fields in {len(request)} bytes")]
        )
    message = service_pb2.TrackBatchRequest.FromString(request)
    return [(None, item.SerializeToString()) for item in message.items[: MAX_BATCH_ITEMS + 1]]


def _serialise(item: service_pb2.BatchItem) -> tuple[Kind, bytes]:
    """An item's kind and bytes, made anew."""
    which = item.WhichOneof("item")
    if which == "track":
        return "track", item.track.SerializeToString()
    if which == "identify":
        return "identify", item.identify.SerializeToString()
    raise InvalidEventError([("item", "must be a track or an identify")])
