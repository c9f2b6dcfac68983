"""The CRDs on a real API server."""

import json
from pathlib import Path

import pytest

from apiserver import control_plane, until

ROOT = Path(__file__).parents[2]
NAMES = sorted(path.stem for path in (ROOT / "crds").glob("*.yaml"))

pytestmark = [pytest.mark.integration, pytest.mark.xdist_group("control-plane")]


@pytest.fixture(scope="module")
def plane(tmp_path_factory):
    with control_plane(tmp_path_factory.mktemp("plane")) as plane:
        plane.kubectl("apply", "-f", str(ROOT / "crds"))
        for name in NAMES:
            plane.kubectl(
                "wait", "--for=condition=Established", f"crd/{name}.plimsoll.dev", "--timeout=30s"
            )
        yield plane


@pytest.mark.parametrize("name", NAMES)
def test_schema_is_structural(plane, name):
    conditions = plane.get("crd", f"{name}.plimsoll.dev")["status"]["conditions"]
    state = {c["type"]: (c["status"], c.get("message")) for c in conditions}
    assert state["NamesAccepted"][0] == "True"
    assert "NonStructuralSchema" not in state, state["NonStructuralSchema"]


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("ib.spec.output.tags", "${package.NAME.version}"),
        ("prepo.spec.upstream.url", "Base URL"),
        ("prepo.spec.packages.sources.configMap", "any other entry is a file"),
        ("cip.spec.require.sbom", "bill of materials"),
    ],
)
def test_explain_is_the_manual(plane, field, text):
    # The server publishes the schemas of new kinds a moment after it serves them.
    until(lambda: plane.kubectl("explain", field, check=False).returncode == 0, "the schema")
    assert text in " ".join(plane.kubectl("explain", field).stdout.split())


def build(**spec):
    return {
        "apiVersion": "plimsoll.dev/v1alpha1",
        "kind": "ImageBuild",
        "metadata": {"name": "app", "namespace": "default"},
        "spec": {
            "image": {"contents": {"packages": ["a"]}, "accounts": {"run-as": 65532}},
            "output": {"repository": "registry.example/app"},
            **spec,
        },
    }


def apply(plane, body):
    return plane.kubectl(
        "apply", "--dry-run=server", "-o", "json", "-f", "-", stdin=json.dumps(body), check=False
    )


def test_a_good_one_is_accepted_with_defaults(plane):
    done = apply(
        plane,
        build(
            job={
                "resources": {"requests": {"cpu": 1}, "limits": {"memory": "2Gi"}},
                "tolerations": [{"key": "a", "operator": "Exists"}],
            },
            schedule={"cron": "17 3 * * *"},
            signing={"keySecret": {"name": "cosign"}},
            attest={"sbom": True},
        ),
    )
    assert done.returncode == 0, done.stderr
    spec = json.loads(done.stdout)["spec"]
    assert spec["output"]["tags"] == ["latest"]
    assert spec["schedule"]["timeZone"] == "UTC"
    assert spec["job"]["timeout"] == "30m"
    assert spec["image"] == {
        "contents": {"packages": ["a"]},
        "accounts": {"run-as": 65532},
        "compression": "gzip",
    }


KEYLESS = {"signingConfig": {"inline": "{}"}, "trustedRoot": {"inline": "{}"}}
URL = {"url": "https://p.example/os", "keys": [{"name": "k.rsa.pub", "data": "PEM"}]}


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ({"imageFrom": {"configMap": {"name": "c"}}}, "exactly one of image, imageFrom"),
        ({"image": None}, "exactly one of image, imageFrom"),
        ({"imagee": {}}, 'unknown field "spec.imagee"'),
        ({"image": {"contents": {"package": []}}}, 'unknown field "spec.image.contents.package"'),
        ({"image": {"include": "x.yaml"}}, 'unknown field "spec.image.include"'),
        ({"attest": {"sbom": True}}, "attest needs signing"),
        ({"signing": {}}, "exactly one of keySecret, keyless"),
        (
            {"signing": {"keySecret": {"name": "c"}, "keyless": KEYLESS}},
            "exactly one of keySecret, keyless",
        ),
        (
            {"signing": {"keyless": {**KEYLESS, "trustedRoot": {}}}},
            "exactly one of inline, configMap",
        ),
        ({"signing": {"keyless": {"signingConfig": {"inline": "{}"}}}}, "trustedRoot: Required"),
        (
            {
                "signing": {"keyless": KEYLESS},
                "output": {"repository": "registry.example/app", "legacySignatures": True},
            },
            "legacySignatures needs signing.keySecret or signing.kms",
        ),
        ({"output": {}}, "spec.output.repository: Required value"),
        ({"output": {"repository": "registry.example/app:tag"}}, "spec.output.repository"),
        ({"output": {"repository": "registry.example/app", "tags": []}}, "spec.output.tags"),
        ({"repositories": [{}]}, "exactly one of name, url"),
        ({"repositories": [{**URL, "name": "a"}]}, "exactly one of name, url"),
        ({"repositories": [{"url": URL["url"]}]}, "a url needs keys"),
        ({"repositories": [{**URL, "keys": [{"name": "k"}]}]}, "exactly one of data, url"),
        ({"job": {"timeout": "forever"}}, "spec.job.timeout"),
        ({"job": {"resources": {"limits": {"memory": "much"}}}}, "memory"),
        ({"retention": {"builds": 0}}, "spec.retention.builds"),
    ],
)
def test_a_bad_one_is_refused_with_the_place(plane, spec, text):
    body = build(**spec)
    body["spec"] = {key: value for key, value in body["spec"].items() if value is not None}
    done = apply(plane, body)
    assert done.returncode != 0
    assert text in done.stderr


SOURCE = {"name": "hello", "inline": "package: {}"}


def repo(**spec):
    packages = {"sources": [SOURCE], "storage": {"repository": "registry.example/packages"}}
    return {
        "apiVersion": "plimsoll.dev/v1alpha1",
        "kind": "PackageRepo",
        "metadata": {"name": "ours", "namespace": "default"},
        "spec": {"packages": {**packages, **spec}},
    }


def test_a_repository_of_packages_is_accepted_with_defaults(plane):
    done = apply(
        plane,
        repo(
            sources=[
                SOURCE,
                {"name": "all", "configMap": {"name": "packages"}},
                {"name": "tree", "git": {"url": "https://git.example/p.git"}},
            ],
            repositories=[{"name": "base"}],
            signing={"keySecret": {"name": "new"}, "previousKeySecrets": [{"name": "old"}]},
            withdrawn=["hello=1.2-r0"],
            retention={"versions": 3},
        ),
    )
    assert done.returncode == 0, done.stderr
    packages = json.loads(done.stdout)["spec"]["packages"]
    assert packages["archs"] == ["amd64"]
    assert packages["parallelism"] == 4
    assert packages["retention"] == {"versions": 3, "days": 30, "builds": 20}
    assert packages["refreshInterval"] == "1h"


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ({"sources": []}, "spec.packages.sources"),
        ({"sources": [{"name": "a"}]}, "exactly one of inline, configMap, git, oci"),
        (
            {"sources": [{**SOURCE, "configMap": {"name": "c"}}]},
            "exactly one of inline, configMap, git, oci",
        ),
        ({"sources": [SOURCE, SOURCE]}, "Duplicate value"),
        ({"sources": [{"name": "Not A Name", "inline": "{}"}]}, "sources[0].name"),
        (
            {"sources": [{"name": "a", "git": {"url": "https://u:p@h/x"}}]},
            "git.url",
        ),
        (
            {"sources": [{"name": "a", "git": {"url": "https://h/x", "ref": {"tag": "--upload"}}}]},
            "git.ref.tag",
        ),
        ({"storage": {"repository": "registry.example/p:tag"}}, "storage.repository"),
        ({"storage": None}, "spec.packages.storage: Required value"),
        ({"archs": []}, "spec.packages.archs"),
        ({"parallelism": 0}, "spec.packages.parallelism"),
        ({"withdrawn": ["hello"]}, "spec.packages.withdrawn[0]"),
        ({"repositories": [{}]}, "exactly one of name, url"),
        ({"signedSources": [{"repository": "**", "requireSigned": {}}]}, "needs at least one of"),
        ({"retention": {"versions": 0}}, "retention.versions"),
        ({"network": "sometimes"}, "spec.packages.network"),
        ({"priviledged": True}, 'unknown field "spec.packages.priviledged"'),
    ],
)
def test_a_bad_repository_of_packages_is_refused_with_the_place(plane, spec, text):
    body = repo(**spec)
    kept = {key: value for key, value in body["spec"]["packages"].items() if value is not None}
    done = apply(plane, {**body, "spec": {"packages": kept}})
    assert done.returncode != 0
    assert text in done.stderr


def test_a_repository_is_followed_or_built(plane):
    upstream = {"url": URL["url"], "keys": URL["keys"]}
    assert apply(plane, {**repo(), "spec": {"upstream": upstream}}).returncode == 0
    for spec in ({**repo()["spec"], "upstream": upstream}, {}, {"suspend": True}):
        done = apply(plane, {**repo(), "spec": spec})
        assert done.returncode != 0
        assert "exactly one of upstream, packages" in done.stderr


def test_examples_are_accepted(plane):
    for name in ("imagebuild.yaml", "variants.yaml"):
        plane.kubectl("apply", "--dry-run=server", "-f", str(ROOT / "examples" / name))


def test_columns_and_category(plane):
    plane.kubectl("apply", "-f", "-", stdin=json.dumps(build()))
    header = plane.kubectl("get", "ib").stdout.split("\n")[0].split()
    assert header == ["NAME", "READY", "IMAGE", "REASON", "AGE"]
    assert "imagebuild.plimsoll.dev/app" in plane.kubectl("get", "plimsoll", "-o", "name").stdout
