"""AdmissionReviews of another project, and the images that each holds."""

from __future__ import annotations

import json

import pytest

from plimsoll.webhook.admission import read
from plimsoll.webhook.body import decode
from plimsoll.webhook.errors import BadReviewError
from shared_data import shared

_FOLDER = shared("cosign-legacy") / "admission_requests"
_CASES = json.loads((_FOLDER / "index.json").read_text())["requests"]
_UNREADABLE = {"11_role.json", "21_broken_admission_request.json", "25_null_request.json"}


@pytest.mark.parametrize(
    "case", [case for case in _CASES if case["file"] not in _UNREADABLE], ids=lambda c: c["file"]
)
def test_every_image_is_found(case):
    # Some were recorded before admission.k8s.io/v1, whose shape is the same.
    body = (_FOLDER / case["file"]).read_bytes()
    review = read(decode(body.replace(b"admission.k8s.io/v1beta1", b"admission.k8s.io/v1")))
    before = {image["image"] for image in case.get("old_images", [])}
    expected = {image["image"] for image in case["images"]} - before
    assert {use.image for use in review.images} == expected
    assert (review.uid, review.operation) == (case["uid"], case["operation"])
    assert (review.group, review.kind) == (case["group"], case["kind"])
    assert review.namespace == case["namespace"]


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("11_role.json", "Role.rbac.authorization.k8s.io is no kind that this webhook knows"),
        ("21_broken_admission_request.json", "the request has no uid"),
        ("25_null_request.json", "no request|no AdmissionReview"),
    ],
)
def test_what_is_not_understood_is_an_error(file, text):
    with pytest.raises(BadReviewError, match=text):
        read(decode((_FOLDER / file).read_bytes()))
