import pytest

from spoold.providers.placeholders import FORBIDDEN_BY_AMPLITUDE, FORBIDDEN_BY_MIXPANEL, usable_id

#: As providers.md 1.1 lists them.
BOTH = ["00000000-0000-0000-0000-000000000000", "anonymous", "nil", "none", "null", "n/a", "na", "undefined"]
BOTH += ["unknown", "0", "-1", "{}"]
MIXPANEL_ONLY = ["anon", "<nil>", "true", "false", "[]"]


@pytest.mark.parametrize("value", [*BOTH, *MIXPANEL_ONLY, "NULL", "Anonymous", "N/A", "TRUE"])
def test_what_mixpanel_forbids_is_no_id(value: str) -> None:
    assert usable_id(value, FORBIDDEN_BY_MIXPANEL) == ""


@pytest.mark.parametrize("value", [*BOTH, "lmy47d", "LMY47D", ""])
def test_what_amplitude_forbids_is_no_id(value: str) -> None:
    assert usable_id(value, FORBIDDEN_BY_AMPLITUDE) == ""


@pytest.mark.parametrize("value", ["u-81", "1", "00", "nullable", " null", "Ünknown", "lmy47d"])
def test_other_ids_stay_as_they_are(value: str) -> None:
    assert usable_id(value, FORBIDDEN_BY_MIXPANEL) == value


def test_each_provider_forbids_what_its_list_says() -> None:
    assert set(BOTH) | set(MIXPANEL_ONLY) == FORBIDDEN_BY_MIXPANEL
    assert {*BOTH, "lmy47d", ""} == FORBIDDEN_BY_AMPLITUDE
