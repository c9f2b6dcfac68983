"""Request bodies: JSON within bounds, with one meaning only."""

from __future__ import annotations

import json
import re
from itertools import accumulate
from typing import Any

from plimsoll.oci.strictjson import no_constant, unique
from plimsoll.webhook.errors import BadReviewError

MAX_BODY = 3 * 1024 * 1024
#: Objects that the API server sends are nested about 25 levels deep.
MAX_DEPTH = 100
_STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*+"', re.DOTALL)
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_STEPS = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}


def decode(body: bytes) -> dict[str, Any]:
    """Decode a request body.

    Raises:
        BadReviewError: more bytes than allowed, no JSON, nested too deeply, a key that stands
            twice in one object (two readers could see two images), or no object.
    """
    if len(body) > MAX_BODY:
        raise BadReviewError(f"the request has more than {MAX_BODY} bytes")
    # Before the decoder, which would only stop at the interpreter's own limit.
    if _depth(body) > MAX_DEPTH and _depth(_STRINGS.sub(b"", body)) > MAX_DEPTH:
        raise BadReviewError(f"the request is nested more than {MAX_DEPTH} levels deep")
    try:
        value = json.loads(body, object_pairs_hook=unique, parse_constant=no_constant)
    except ValueError as error:
        raise BadReviewError(f"the request is no valid JSON: {str(error)[:200]}") from None
    if not isinstance(value, dict):
        raise BadReviewError("the request is no AdmissionReview object")
    return value


def _depth(body: bytes) -> int:
    """How deep brackets are nested; those in strings are counted too."""
    return max(accumulate(map(_STEPS.__getitem__, body.translate(None, _NOT_BRACKETS))), default=0)
