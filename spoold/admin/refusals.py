"""What becomes of a request: worked off beside the loop, or refused with a code and a sentence."""

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeAlias, TypeVar

import grpc

from spoold.errors import (
    LaneClosedError,
    SpoolClosedError,
    SpooldError,
    SpoolFullError,
    SpoolMissingError,
    SpoolUnreadableError,
    UnknownLaneError,
    UnknownReplayError,
)

Context: TypeAlias = "grpc.aio.ServicerContext[object, object]"

_P = ParamSpec("_P")
_T = TypeVar("_T")


class BadRequestError(SpooldError):
    """A request breaks a rule of the admin API. The message names the field, the value and the reason."""


class NotFoundError(SpooldError):
    """What was asked for is not there; the message names it."""


#: The first that fits.
_CODES: tuple[tuple[type[SpooldError], grpc.StatusCode], ...] = (
    (BadRequestError, grpc.StatusCode.INVALID_ARGUMENT),
    (NotFoundError, grpc.StatusCode.NOT_FOUND),
    (UnknownLaneError, grpc.StatusCode.NOT_FOUND),
    (UnknownReplayError, grpc.StatusCode.NOT_FOUND),
    (LaneClosedError, grpc.StatusCode.FAILED_PRECONDITION),
    (SpoolMissingError, grpc.StatusCode.NOT_FOUND),
    (SpoolUnreadableError, grpc.StatusCode.FAILED_PRECONDITION),
    (SpoolFullError, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (SpoolClosedError, grpc.StatusCode.UNAVAILABLE),
    # The daemon was reached, and its disk or its spool failed: nobody should look for another socket.
    (SpooldError, grpc.StatusCode.INTERNAL),
)


async def work_off(context: Context, work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Run ``work`` on a worker thread: the loop serves ingest, which must not wait (I6).

    An error of ours ends the call with its code and its sentence. A call that is cancelled ends at once; what runs
    on the thread then finishes unheard, so it must be short.
    """
    try:
        return await asyncio.to_thread(work, *args, **kwargs)
    except SpooldError as exc:
        code = next(code for kind, code in _CODES if isinstance(exc, kind))
        await context.abort(code, str(exc))
