from datetime import UTC, datetime, timedelta

import pytest

from plimsoll.api.meta import Condition, find_condition, parse_duration, with_condition

NOW = datetime(2026, 11, 21, 6, 44, 0, 5, tzinfo=UTC)
LATER = NOW + timedelta(minutes=5)


@pytest.mark.parametrize(
    ("text", "seconds"), [("1h30m", 5400), ("45s", 45), ("10m", 600), ("1h1s", 3601), ("0s", 0)]
)
def test_durations(text, seconds):
    assert parse_duration(text).total_seconds() == seconds


@pytest.mark.parametrize(
    "text", ["", "1", "10", "1d", "m10", "-1m", "1.5h", "30m1h", "123456h", "9999999999s"]
)
def test_bad_durations(text):
    with pytest.raises(ValueError, match="is no duration"):
        parse_duration(text)


def test_transition_time_moves_with_the_status_only():
    first = with_condition([], Condition(type="Ready", status="False", reason="A"), NOW)
    same = with_condition(first, Condition(type="Ready", status="False", reason="B"), LATER)
    other = with_condition(same, Condition(type="Ready", status="True", reason="C"), LATER)
    assert same[0].reason == "B"
    assert (
        same[0].last_transition_time == first[0].last_transition_time == NOW.replace(microsecond=0)
    )
    assert other[0].last_transition_time == LATER.replace(microsecond=0)


def test_the_order_of_conditions_stays():
    conditions = []
    for kind in ("Ready", "Signed", "Ready"):
        conditions = with_condition(conditions, Condition(type=kind, status="True"), NOW)
    assert [c.type for c in conditions] == ["Ready", "Signed"]
    assert find_condition(conditions, "Signed").status == "True"
    assert find_condition(conditions, "Other") is None
