from __future__ import annotations

import asyncio

import pytest

from plimsoll.webhook import tls
from plimsoll.webhook.certificates import renewed, utc_now
from plimsoll.webhook.condition import ready_patch
from plimsoll.webhook.tls import ServingCertificate, follow_files


async def test_files_are_taken_up_when_they_change(tmp_path, monkeypatch):
    monkeypatch.setattr(tls, "LOOK_SECONDS", 0.01)
    certificate, key = tmp_path / "tls.crt", tmp_path / "tls.key"
    serving = ServingCertificate()
    task = asyncio.create_task(follow_files(serving, certificate, key))
    try:
        for _ in range(2):
            identity = renewed(None, ["a"], b"", utc_now())
            # The pair does not fit for a moment, as when files are replaced one by one.
            certificate.write_bytes(identity.certificate)
            await asyncio.sleep(0.03)
            key.write_bytes(identity.key)
            async with asyncio.timeout(5):
                while serving._pair != (identity.certificate, identity.key):  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize(
    ("status", "fault", "expected"),
    [
        (None, "", "True"),
        ({}, "why", "False"),
        ({"conditions": "x"}, "", "True"),
        ({"observedGeneration": 1, "conditions": []}, "", "True"),
    ],
)
def test_a_condition_says_what_is_so_and_is_written_once(status, fault, expected):
    item = {"metadata": {"name": "p", "generation": 2, "resourceVersion": "7"}, "status": status}
    patch = ready_patch(item, fault, utc_now())
    assert patch is not None
    (condition,) = patch["status"]["conditions"]
    assert (condition["status"], condition["observedGeneration"]) == (expected, 2)
    assert patch["metadata"]["resourceVersion"] == "7"
    item["status"] = patch["status"]
    assert ready_patch(item, fault, utc_now()) is None
    changed = ready_patch(item, "other", utc_now())
    assert changed is not None
    since = changed["status"]["conditions"][0]["lastTransitionTime"]
    assert (since == condition["lastTransitionTime"]) or expected == "True"
