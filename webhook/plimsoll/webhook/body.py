"""Bodies: requests are JSON within bounds, with one meaning only; answers are JSON, fast."""

from __future__ import annotations

import json
import re
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import orjson

from plimsoll.oci.strictjson import no_constant, unique
from plimsoll.webhook.errors import BadReviewError

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_BODY = 3 * 1024 * 1024
#: Objects that the API server sends are nested about 25 levels deep.
MAX_DEPTH = 100
_STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*+"', re.DOTALL)
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_STEPS = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
_MANY_BRACKETS = 50_000
_BRACES = bytes.maketrans(b"[]", b"{}")
#: What Go's encoder writes in another way than ours, and means the same.
_ESCAPES = ((b"\\u003c", b"<"), (b"\\u003e", b">"), (b"\\u0026", b"&"))


def decode(body: bytes) -> dict[str, Any]:
    """Decode a request body.

    Raises:
        BadReviewError: more bytes than allowed, no JSON, nested too deeply, a key that stands
            twice in one object (two readers could see two images), or no object.
    """
    if len(body) > MAX_BODY:
        raise BadReviewError(f"the request has more than {MAX_BODY} bytes")
    # Before the decoder, which would only stop at the interpreter's own limit.
    if not _is_shallow(body) and _depth(_STRINGS.sub(b"", body)) > MAX_DEPTH:
        raise BadReviewError(f"the request is nested more than {MAX_DEPTH} levels deep")
    value = _decoded_whole(body)
    if value is None:
        try:
            value = json.loads(body, object_pairs_hook=unique, parse_constant=no_constant)
        except ValueError as error:
            raise BadReviewError(f"the request is no valid JSON: {str(error)[:200]}") from None
    if not isinstance(value, dict):
        raise BadReviewError("the request is no AdmissionReview object")
    return value


def encode(value: Any, default: Callable[[Any], Any] | None = None) -> bytes:
    """Encode an answer or a line of the log.

    Args:
        value: what to encode.
        default: makes something that JSON has of something that it has not.
    """
    try:
        return orjson.dumps(value, default)
    except orjson.JSONEncodeError:
        # Texts from requests may hold half a surrogate pair, and numbers may be very large.
        return json.dumps(value, default=default).encode()


def _decoded_whole(body: bytes) -> Any:
    """The value if encoding it again gives the same bytes, as it does for the API server's.

    Then nothing was lost in decoding, such as one of two equal keys. ``None`` leaves the verdict
    to the slower decoder that looks for them.
    """
    text = body.strip()
    if b"\\u00" in text:
        # An escaped backslash before ``u003c`` is no escape of ``<``. Replaced all the same it
        # leaves a lone backslash, which is no JSON or no longer gives the same bytes.
        for written, meant in _ESCAPES:
            text = text.replace(written, meant)
    try:
        value = orjson.loads(text)
        return value if orjson.dumps(value) == text else None
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        return None


def _is_shallow(body: bytes) -> bool:
    """Whether it is certainly not too deep: pairs of brackets are taken away from within."""
    text = body.translate(_BRACES, _NOT_BRACKETS)
    if len(text) > _MANY_BRACKETS:
        # Taking pairs away reads all that is left each time.
        return False
    for _ in range(MAX_DEPTH):
        if not text:
            return True
        before, text = len(text), text.replace(b"{}", b"")
        if len(text) == before:
            return False
    return not text


def _depth(body: bytes) -> int:
    """How deep brackets are nested."""
    brackets = body.translate(None, _NOT_BRACKETS)
    return max(accumulate(map(_STEPS.__getitem__, brackets)), default=0)
