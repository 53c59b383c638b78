import uuid

import pytest

from spoold.ingest.ids import MAX_CALLER_ID_CHARACTERS, CallerIds

NAMESPACE = uuid.UUID("6ba7b810-9dad-11d1-80b4-00c04fd430c8")
IDS = CallerIds(NAMESPACE)
CANONICAL = "0190b6f2-7c1d-7abc-8def-0123456789ab"


def test_a_canonical_uuid_is_kept() -> None:
    assert IDS.resolve(CANONICAL) == (uuid.UUID(CANONICAL).bytes, "")


def test_an_upper_case_uuid_is_the_same_id_and_the_original_is_kept() -> None:
    assert IDS.resolve(CANONICAL.upper()) == (uuid.UUID(CANONICAL).bytes, CANONICAL.upper())


@pytest.mark.parametrize(
    "text",
    [
        "order-1",
        " ",
        CANONICAL.replace("-", ""),
        "{" + CANONICAL + "}",
        "urn:uuid:" + CANONICAL,
        CANONICAL + "\n",
        "\u0660190b6f2-7c1d-7abc-8def-0123456789ab",
    ],
)
def test_any_other_id_becomes_a_uuid5_and_the_original_is_kept(text: str) -> None:
    assert IDS.resolve(text) == (uuid.uuid5(NAMESPACE, text).bytes, text)


def test_namespaces_keep_the_same_text_apart() -> None:
    assert IDS.resolve("order-1") != CallerIds(uuid.NAMESPACE_URL).resolve("order-1")


def test_the_nil_uuid_is_refused() -> None:
    with pytest.raises(ValueError, match="nil"):
        IDS.resolve("00000000-0000-0000-0000-000000000000")


def test_the_longest_id_is_taken_and_a_longer_one_refused() -> None:
    IDS.resolve("x" * MAX_CALLER_ID_CHARACTERS)
    with pytest.raises(ValueError, match="at most 256 characters, has 257"):
        IDS.resolve("x" * (MAX_CALLER_ID_CHARACTERS + 1))
