"""Ids that mean nobody: providers refuse them, so they count as no id (providers.md 1.1, point 3).

The event itself is kept as the caller sent it; only what is sent to a provider that forbids the id leaves it out.
"""

#: Forbidden by both Mixpanel and Amplitude.
_FORBIDDEN_BY_BOTH = frozenset(
    {
        "00000000-0000-0000-0000-000000000000",
        "anonymous",
        "nil",
        "none",
        "null",
        "n/a",
        "na",
        "undefined",
        "unknown",
        "0",
        "-1",
        "{}",
    }
)

#: What Mixpanel refuses as ``distinct_id`` and ``$insert_id``.
FORBIDDEN_BY_MIXPANEL = _FORBIDDEN_BY_BOTH | {"anon", "<nil>", "true", "false", "[]"}

#: What Amplitude refuses as user or device id.
FORBIDDEN_BY_AMPLITUDE = _FORBIDDEN_BY_BOTH | {"lmy47d", ""}


def usable_id(value: str, forbidden: frozenset[str]) -> str:
    """``value``, or nothing where it is a placeholder.

    Compared without regard to case: whether the providers do is unverified, and an id named "NULL" is nobody's.
    """
    return "" if value.lower() in forbidden else value
