from __future__ import annotations

import contextlib
import copy
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.oci.strictjson import no_constant, unique
from plimsoll.webhook.admission import KINDS, read
from plimsoll.webhook.body import MAX_BODY, decode, encode
from plimsoll.webhook.errors import BadReviewError
from webhooks import pod, review

_DIGEST = f"a@sha256:{'0' * 64}"


def _workload(group, kind, path, spec):
    target = {"spec": spec}
    for step in reversed(path):
        target = {step: target}
    return {**target, "apiVersion": f"{group}/v1" if group else "v1", "kind": kind}


@pytest.mark.parametrize(("group", "kind"), list(KINDS))
def test_every_kind_shows_all_its_images(group, kind):
    spec = {
        "initContainers": [{"name": "i", "image": "init"}],
        "containers": [{"name": "c", "image": "main"}],
        "ephemeralContainers": [{"name": "e", "image": "debug"}],
        "volumes": [{"name": "v", "image": {"reference": "volume"}}, {"name": "w"}],
        "serviceAccountName": "robot",
        "imagePullSecrets": [{"name": "pull"}, {}],
    }
    known = KINDS[group, kind]
    found = read(review(_workload(group, kind, known.path, spec)))
    assert [str(use) for use in found.images] == [
        "init container 'i'",
        "container 'c'",
        "ephemeral container 'e'",
        "image volume 'v'",
    ]
    assert [use.image for use in found.images] == ["init", "main", "debug", "volume"]
    assert (found.service_account, found.pull_secrets) == ("robot", ("pull",))
    assert found.is_pod == (kind == "Pod")
    assert found.resource == known.resource


@pytest.mark.parametrize(
    "spec",
    [
        {"containers": [{"name": "c"}]},
        {"containers": [{"name": "c", "image": ""}]},
        {"containers": [{"name": "c", "image": 7}]},
        {"containers": [{"name": 7, "image": "x"}]},
        {"containers": {"name": "c", "image": "x"}},
        {"containers": ["x"]},
        {"containers": [None]},
        {"initContainers": "x"},
        {"ephemeralContainers": [[]]},
        {"volumes": [{"name": "v", "image": "x"}]},
        {"volumes": [{"name": "v", "image": {}}]},
        {"volumes": [{"name": "v", "image": {"reference": ["x"]}}]},
        {"volumes": {"image": {"reference": "x"}}},
        {"imagePullSecrets": "x"},
        None,
        [],
    ],
)
def test_a_pod_of_another_shape_is_not_understood(spec):
    target = pod("nginx")
    target["spec"] = {**target["spec"], **spec} if isinstance(spec, dict) else spec
    with pytest.raises(BadReviewError):
        read(review(target))


def test_a_template_may_leave_an_image_open():
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"template": {}}}
    assert read(review(target)).images == ()
    target["spec"]["template"]["spec"] = {"containers": [{"name": "c"}]}
    assert read(review(target)).images == ()


@pytest.mark.parametrize(
    "change",
    [
        {"operation": "CONNECT"},
        {"operation": ""},
        {"operation": None},
        {"subResource": "exec"},
        {"subResource": 7},
        {"kind": None},
        {"kind": {"group": "", "kind": "Binding", "version": "v1"}},
        {"kind": {"group": "evil", "kind": "Pod", "version": "v1"}},
        {"object": None},
        {"object": []},
        {"oldObject": "x", "operation": "UPDATE"},
        {"uid": ""},
        {"uid": 7},
    ],
)
def test_a_request_of_another_shape_is_not_understood(change):
    with pytest.raises(BadReviewError):
        read(review(pod("nginx"), **change))


@pytest.mark.parametrize(
    "change", [{"operation": "DELETE"}, {"subResource": "status"}, {"subResource": "resize"}]
)
def test_what_starts_nothing_has_no_images(change):
    assert read(review(pod("nginx"), **change)).images == ()


def test_an_update_shows_what_changed_and_where():
    before = pod("a", "b")
    after = copy.deepcopy(before)
    after["spec"]["containers"][1]["image"] = "c"
    update = {"operation": "UPDATE", "oldObject": before}
    assert [use.image for use in read(review(after, **update)).images] == ["c"]
    assert read(review(before, **update)).images == ()
    # The same image in another place is a change: it may be pulled anew.
    swapped = copy.deepcopy(before)
    swapped["spec"]["initContainers"] = [{"name": "c0", "image": "a"}]
    assert [use.role for use in read(review(swapped, **update)).images] == ["init container"]
    # An object that is being deleted is no exception.
    after["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert [use.image for use in read(review(after, **update)).images] == ["c"]
    assert len(read(review(after, operation="UPDATE", oldObject=None)).images) == 2
    # An old object is never a reason to look away on creation.
    assert len(read(review(before, oldObject=before)).images) == 2


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "no valid JSON"),
        (b"{", "no valid JSON"),
        (b"\xff\xfe", "no valid JSON"),
        (b'{"a": NaN}', "NaN"),
        (b'{"a": 1, "a": 2}', "'a' stands twice"),
        (b'{"x": [{"image": "good", "image": "bad"}]}', "'image' stands twice"),
        (b"[" * 101 + b"]" * 101, "nested more than 100"),
        (b'{"a":' * 200_000, "nested more than 100"),
        (b" " * (MAX_BODY + 1), "bytes"),
        (b"null", "no AdmissionReview"),
        (b'"x"', "no AdmissionReview"),
    ],
)
def test_a_body_that_is_no_object_is_refused(body, text):
    with pytest.raises(BadReviewError, match=text):
        decode(body)


def test_many_brackets_take_no_long_time():
    wide = b'{"a":[' + b"{}," * 900_000 + b"{}]}"
    begin = time.process_time()
    assert len(decode(wide)["a"]) == 900_001
    with pytest.raises(BadReviewError, match="nested"):
        decode(b"[" * (MAX_BODY // 2) + b"]" * (MAX_BODY // 2))
    assert time.process_time() - begin < 10


def test_brackets_in_texts_are_not_nesting():
    value = {"a": "[" * 5000, 'b"{': "\\", "c": '"' + "{" * 500}
    assert decode(json.dumps(value).encode()) == value


@given(st.binary(max_size=200))
def test_any_bytes_are_decoded_or_refused(body):
    with contextlib.suppress(BadReviewError):
        assert isinstance(decode(body), dict)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["containers", "image", "name", "spec", "template", "volumes", "reference", "x"]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=12,
)


class _Twice(str):
    """A key that is unlike its equal, so that a dictionary holds both."""

    __slots__ = ()

    def __eq__(self, other):
        return self is other

    def __hash__(self):
        return id(self)


_KEY = st.text('ab<&"\\:u003c é', max_size=4)
_PAIRS = st.recursive(
    st.integers() | st.floats() | st.booleans() | st.none() | _KEY,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(st.tuples(_KEY, inner), max_size=3).map(
            lambda pairs: {_Twice(key): value for key, value in pairs}
        )
    ),
    max_leaves=10,
)


@given(_PAIRS, st.booleans(), st.sampled_from([(",", ":"), (", ", ": "), (",", " :")]))
def test_the_fast_decoder_says_what_the_careful_one_says(value, ascii_only, separators):
    text = json.dumps({"x": value}, ensure_ascii=ascii_only, separators=separators)
    for written in (text, text.replace("<", r"\u003c").replace("&", r"\u0026")):
        try:
            careful = json.loads(written, object_pairs_hook=unique, parse_constant=no_constant)
        except ValueError:
            with pytest.raises(BadReviewError):
                decode(written.encode())
        else:
            assert decode(written.encode()) == careful


@pytest.mark.parametrize(
    "body",
    [
        rb'{"<":1,"\u003c":2}',
        rb'{"\\u003c":1,"\\u003c":2}',
        rb'{"a":":","a":"\u0022:"}',
        b'{"a":{"b":1,"b":1}}\n',
    ],
)
def test_keys_that_stand_twice_in_any_spelling_are_refused(body):
    with pytest.raises(BadReviewError, match="stands twice"):
        decode(body)


def test_what_no_encoder_of_unicode_takes_can_be_answered():
    document = decode(rb'{"a":"\ud800","n":123456789012345678901234567890}')
    assert json.loads(encode(document)) == document


@given(_JSON, st.sampled_from(list(KINDS)))
def test_any_object_is_read_or_refused(value, key):
    group, kind = key
    target = {"apiVersion": f"{group}/v1" if group else "v1", "kind": kind, "spec": value}
    try:
        found = read(review(target))
    except BadReviewError:
        return
    assert all(isinstance(use.image, str) and use.image for use in found.images)


def test_places_are_named_as_json_pointers():
    spec = {
        "containers": [{"name": "a"}, {"name": "c", "image": "one"}],
        "initContainers": [{"name": "i", "image": "two"}],
        "volumes": [{"name": "v"}, {"name": "w", "image": {"reference": "three"}}],
    }
    target = {"apiVersion": "apps/v1", "kind": "Deployment"}
    target["spec"] = {"template": {"spec": spec}}
    assert {use.image: use.path for use in read(review(target)).images} == {
        "one": "/spec/containers/1/image",
        "two": "/spec/initContainers/0/image",
        "three": "/spec/volumes/1/image/reference",
    }
