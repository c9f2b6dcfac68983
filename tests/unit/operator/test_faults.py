from datetime import UTC, datetime

import pytest

from plimsoll.api.meta import Condition, find_condition
from plimsoll.errors import Error
from plimsoll.kube.errors import KubeError
from plimsoll.operator.faults import Fault, fault_of, stalled

NOW = datetime(2026, 11, 21, 6, 0, tzinfo=UTC)
FAULT = Fault("InternalError", "TypeError: no")


@pytest.mark.parametrize(
    ("error", "reason", "words"),
    [
        (TypeError("'NoneType' has no len()"), "InternalError", ["TypeError: 'NoneType'", "log"]),
        (ValueError("x" * 100_000), "InternalError", ["ValueError", "report"]),
        (KubeError("POST: jobs is forbidden", status=403), "KubernetesApi", ["forbidden", "chart"]),
        (KubeError("PUT: too long", status=422), "KubernetesApi", ["too long", "log"]),
        (Error("cannot", hint="do that"), "Error", ["cannot (do that)"]),
    ],
)
def test_what_is_said_of_an_error(error, reason, words):
    fault = fault_of(error)
    assert fault.reason == reason
    assert len(fault.message) < 2000
    for word in words:
        assert word in fault.message


@pytest.mark.parametrize("status", [0, 404, 409, 429, 503])
def test_what_passes_is_not_said(status):
    assert fault_of(KubeError("away", status=status)) is None


def truth(conditions):
    return {c.type: (c.status, c.reason) for c in conditions}


def test_an_image_that_exists_stays_ready():
    ready = Condition(type="Ready", status="True", reason="ImageAvailable", observed_generation=3)
    after = stalled([ready], 3, FAULT, 3, NOW)
    assert truth(after) == {
        "Ready": ("True", "ImageAvailable"),
        "Reconciling": ("False", "InternalError"),
        "Stalled": ("True", "InternalError"),
    }
    assert find_condition(after, "Stalled").message == FAULT.message
    assert stalled(after, 3, FAULT, 3, NOW) == after


@pytest.mark.parametrize("seen", [None, 2])
def test_nothing_is_known_of_a_spec_that_nobody_looked_at(seen):
    ready = Condition(type="Ready", status="True", reason="ImageAvailable", observed_generation=2)
    after = stalled([ready], seen, FAULT, 3, NOW)
    assert truth(after)["Ready"] == ("Unknown", "InternalError")
    assert {c.observed_generation for c in after} == {3}
