"""Results of steps fit into a termination message, and are read again."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from plimsoll.api.packagesteps import (
    BlockedPackage,
    PackageCollectResult,
    PackageCounts,
    PackagePlanResult,
    PackageTest,
    ReadyPackage,
    dump,
    load,
)
from plimsoll.api.steps import TERMINATION_MESSAGE_LIMIT, StepFailure
from plimsoll.api.steps import dump as dump_failure


def plan(number):
    return PackagePlanResult(
        plan=f"sha256:{'0' * 64}",
        unchanged=False,
        counts=PackageCounts(total=number, ready=number),
        ready=[
            ReadyPackage(
                name=f"a-package-with-a-long-name-{n}", arch="amd64", version="1.2.3-r4",
                inputs_hash="0" * 64, reason="Changed",
            )
            for n in range(number)
        ],
        blocked=[
            BlockedPackage(name=f"blocked-{n}", arch="amd64", on="x", failed=False)
            for n in range(number)
        ],
        failed=[f"failed-{n}/amd64" for n in range(number)],
    )  # fmt: skip


@pytest.mark.parametrize("number", [0, 1, 5, 12, 500])
def test_lists_are_cut_to_fit(number):
    data = dump(plan(number))
    assert len(data) <= TERMINATION_MESSAGE_LIMIT
    found = load("package-plan", data.decode())
    assert isinstance(found, PackagePlanResult)
    assert found.counts.ready == number
    if number:
        assert found.ready
    if number <= 5:
        assert found == plan(number)


def test_what_cannot_be_cut_is_an_error():
    tests = [PackageTest(name=f"test-{n}", image=f"sha256:{'0' * 64}") for n in range(60)]
    result = PackageCollectResult(artifact="sha256:0", version="1-r0", packages=1, tests=tests)
    with pytest.raises(ValueError, match="over the limit"):
        dump(result)


def test_failures_are_told_from_results():
    failure = StepFailure(reason="Odd", message="what it said", retryable=True)
    assert load("package-prepare", dump_failure(failure).decode()) == failure
    odd = plan(1).model_copy(update={"failed": ['"retryable"', '"reason"']})
    assert load("package-plan", dump(odd).decode()) == odd
    with pytest.raises(ValidationError):
        load("package-publish", "{}")
