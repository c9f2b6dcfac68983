from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.errors import Error
from plimsoll.oci.digest import digest_of
from plimsoll.oci.errors import InvalidManifestError
from plimsoll.oci.model import (
    DOCKER_LIST,
    DOCKER_MANIFEST,
    ENTRY_LIMIT,
    OCI_CONFIG,
    OCI_INDEX,
    OCI_LAYER_GZIP,
    OCI_MANIFEST,
    Descriptor,
    Index,
    Manifest,
    Platform,
    parse_manifest,
)
from plimsoll.oci.strictjson import load_object

CONFIG = Descriptor.of(b"{}", OCI_CONFIG)
LAYER = Descriptor.of(b"layer", OCI_LAYER_GZIP, annotations={"k": "v"})


def manifest_with(**changes) -> bytes:
    value = json.loads(Manifest(config=CONFIG, layers=(LAYER,)).to_bytes())
    value.update(changes)
    return json.dumps({k: v for k, v in value.items() if v is not None}).encode()


def test_a_manifest_comes_back_as_it_was():
    manifest = Manifest(
        config=CONFIG,
        layers=(LAYER, LAYER),
        artifact_type="a/b",
        subject=Descriptor.of(b"subject", OCI_MANIFEST),
        annotations={"é": "ü"},
    )
    assert Manifest.parse(manifest.to_bytes()) == manifest
    assert parse_manifest(manifest.to_bytes()) == manifest
    assert manifest.kind == "a/b"
    assert Manifest(config=CONFIG, layers=()).kind == OCI_CONFIG


def test_an_index_comes_back_as_it_was_and_finds_a_platform():
    arm = Descriptor.of(b"1", OCI_MANIFEST, platform=Platform(architecture="arm", variant="v7"))
    amd = Descriptor.of(b"2", OCI_MANIFEST, platform=Platform(architecture="amd64"))
    plain = Descriptor.of(b"3", OCI_MANIFEST)
    index = Index(manifests=(plain, arm, amd), annotations={"a": "b"})
    assert parse_manifest(index.to_bytes(), OCI_INDEX) == index
    assert str(arm.platform) == "linux/arm/v7"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"schemaVersion": 1}, "schemaVersion"),
        ({"schemaVersion": None}, "schemaVersion"),
        ({"config": None}, "no config"),
        ({"config": []}, "no JSON object"),
        ({"manifests": []}, "no config"),
        ({"layers": {}}, "no list"),
        ({"layers": [3]}, "layer 0"),
        ({"layers": [CONFIG.to_dict()] * (ENTRY_LIMIT + 1)}, "more than 1000"),
        ({"annotations": {"a": 1}}, "annotations"),
        ({"annotations": []}, "annotations"),
        ({"artifactType": 3}, "artifactType"),
        ({"mediaType": OCI_INDEX}, "media type"),
        ({"mediaType": 7}, "mediaType"),
        ({"config": {**CONFIG.to_dict(), "digest": "sha256:../../etc/passwd"}}, "digest"),
        ({"config": {**CONFIG.to_dict(), "size": -1}}, "size"),
        ({"config": {**CONFIG.to_dict(), "size": True}}, "size"),
        ({"config": {**CONFIG.to_dict(), "size": 2.0}}, "size"),
        ({"config": {**CONFIG.to_dict(), "data": "???"}}, "base64"),
        ({"config": {**CONFIG.to_dict(), "data": base64.b64encode(b"[]").decode()}}, "embedded"),
        ({"subject": "x"}, "subject"),
    ],
)
def test_a_manifest_that_is_none_is_refused(changes, says):
    with pytest.raises(InvalidManifestError, match=says):
        Manifest.parse(manifest_with(**changes))


def test_one_document_is_never_two_things():
    data = manifest_with()
    for declared in (OCI_INDEX, DOCKER_MANIFEST, DOCKER_LIST):
        with pytest.raises(InvalidManifestError):
            parse_manifest(data, declared)
    both = manifest_with(manifests=[], mediaType=None)
    for kind in (OCI_MANIFEST, OCI_INDEX, ""):
        with pytest.raises(InvalidManifestError):
            parse_manifest(both, kind)


def test_schema_1_is_refused_with_advice():
    old = b'{"schemaVersion":1,"name":"a"}'
    with pytest.raises(InvalidManifestError) as caught:
        parse_manifest(old, "application/vnd.docker.distribution.manifest.v1+prettyjws")
    assert "current tool" in str(caught.value)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b'{"a":1,"a":2}', "stands twice"),
        (b'{"a":{"b":1,"b":1}}', "stands twice"),
        (b'{"a":NaN}', "NaN"),
        (b'{"a":Infinity}', "Infinity"),
        (b"[]", "no JSON object"),
        (b"\xff{}", "no valid JSON"),
        (b"", "no valid JSON"),
        (b'{"a":' + b"[" * 100 + b"]" * 100 + b"}", "deep"),
        (b'{"a":' + b"[" * 100_000, "no valid JSON"),
        (b'{"a":' + b"9" * 10_000 + b"}", "no valid JSON"),
        (b"{}" + b" " * 300_000, "more than"),
    ],
)
def test_hostile_json_is_refused(data, says):
    with pytest.raises(InvalidManifestError, match=says):
        load_object(data, what="it", max_size=200_000)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["mediaType", "digest", "size", "config", "layers", "manifests", "x"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["schemaVersion", "config", "layers", "manifests"]), JSON))
def test_any_json_is_either_read_or_refused(value):
    value["schemaVersion"] = 2
    try:
        parse_manifest(json.dumps(value).encode())
    except Error:
        return
    assert "config" in value or "manifests" in value


def test_embedded_data_is_checked_and_kept():
    value = {**CONFIG.to_dict(), "data": base64.b64encode(b"{}").decode()}
    found = Descriptor.from_dict(value)
    assert found.data == b"{}"
    assert found.to_dict() == value
    assert found.digest == digest_of(b"{}")
