"""A caller's idempotency id → the event's id."""

import re
import uuid

#: Longest id that a caller may give, in characters: it is stored with the event.
MAX_CALLER_ID_CHARACTERS = 256

_CANONICAL = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE | re.ASCII)
_NIL = bytes(16)


class CallerIds:
    """Turns what callers give as ``event_id`` into 16 bytes that every provider takes.

    Args:
        namespace: Separates this installation's ids from everybody else's: providers deduplicate over all their
            customers. Machines behind one balancer share it.
    """

    def __init__(self, namespace: uuid.UUID) -> None:
        self._namespace = namespace

    def resolve(self, text: str) -> tuple[bytes, str]:
        """The event's id, and the caller's own text where the id doesn't say it.

        A UUID in the hyphenated form is kept; upper case means the same id (RFC 9562) and is stored in lower case.
        Anything else becomes a UUIDv5 under the namespace, so that a repeat gets the same id again.

        Raises:
            ValueError: The id can't be taken; the text says why.
        """
        if _CANONICAL.fullmatch(text):
            event_id = bytes.fromhex(text.replace("-", ""))
            if event_id == _NIL:
                raise ValueError("must not be the nil UUID; leave it empty to get an id")
            return event_id, "" if text == text.lower() else text
        if len(text) > MAX_CALLER_ID_CHARACTERS:
            raise ValueError(f"must have at most {MAX_CALLER_ID_CHARACTERS} characters, has {len(text)}")
        return uuid.uuid5(self._namespace, text).bytes, text
