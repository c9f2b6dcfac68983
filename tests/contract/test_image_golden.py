"""Images and locks that the reference published, made again."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path

import pytest

from plimsoll.api.image import ImageConfiguration, Layering
from plimsoll.apk.packageinfo import PackageInfo
from plimsoll.apk.tarfmt import TarReader
from plimsoll.arch import Arch
from plimsoll.builder import compatcertificates
from plimsoll.builder.certificates import CA_BUNDLE, add_certificates
from plimsoll.builder.compattree import CompatTree
from plimsoll.builder.compose import Recipe, compose
from plimsoll.builder.config import load_config, parse_config
from plimsoll.builder.engine import Engine, build_all
from plimsoll.builder.groups import layer_groups
from plimsoll.builder.lock import Lock, LockedConfig, LockError
from plimsoll.builder.locking import complete
from plimsoll.builder.settings import Settings
from plimsoll.builder.tree import Tree
from plimsoll.errors import Error
from plimsoll.oci.digest import digest_of
from shared_data import shared

EXPECTED = json.loads((shared("apko") / "expected.json").read_text())
CASES = {case["name"]: case for case in EXPECTED["cases"]}
ARCHS = (Arch.AMD64, Arch.ARM64)


@pytest.fixture(autouse=True)
def folder(monkeypatch):
    monkeypatch.chdir(shared("apko"))
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)


def read(path: str) -> bytes:
    return Path(path).read_bytes()


def engine(tmp_path, **settings):
    return Engine(Settings(cache_dir=tmp_path / "cache", **settings))


async def test_the_same_layers_and_configuration(tmp_path):
    case = CASES["single-layer"]
    config = load_config(Path(case["config"])).config
    async with engine(tmp_path, compat=True) as work:
        lock, _ = await work.resolve(config, ARCHS)
        images = await build_all(
            work, config, lock, ARCHS, name="golden", annotations=case["extra_annotations"]
        )
        index = json.loads(work.index(config, images, case["extra_annotations"]))
        tars = [_inflate(image) for image in images]
    assert index["annotations"] == case["expect"]["index_annotations"]
    golden = json.loads(read(f"{case['golden']}/index.json"))
    assert without_digests(index) == without_digests(golden)
    for image, tar, expected in zip(images, tars, case["expect"]["archs"], strict=True):
        made, wanted = json.loads(image.config), dict(expected["config"])
        manifest = json.loads(image.manifest)
        blob = expected["manifest_digest"].replace(":", "/")
        golden = json.loads(read(f"{case['golden']}/blobs/{blob}"))
        assert without_digests(manifest) == without_digests(golden)
        assert manifest["annotations"] == expected["manifest_annotations"]
        assert made["rootfs"] == wanted["rootfs"]
        assert made["config"] == wanted["config"]
        assert made["created"] == wanted["created"]
        # What the tool calls itself is its own.
        del made["author"], wanted["author"]
        for item in (*made["history"], *wanted["history"]):
            del item["author"], item["created_by"]
        assert made == wanted
        assert [f"{n}={v}" for n, v in image.packages] == case["expect"].get(
            "installed_packages", case["installed_packages"]
        )
        layer = expected["layers"][0]
        reader = TarReader([tar], "layer")
        names = [entry.header.name for entry in reader]
        assert len(names) == layer["entries"]
        assert names[: len(layer["first_entries"])] == layer["first_entries"]


def without_digests(value):
    """A document without what the compressor decides."""
    if isinstance(value, list):
        return [without_digests(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {k: without_digests(v) for k, v in value.items() if k not in {"digest", "size"}}


def _inflate(image) -> bytes:
    import gzip  # noqa: PLC0415

    return gzip.decompress(b"".join(image.layers[0].chunks()))


async def test_the_same_lock(tmp_path):
    case = CASES["lock"]
    loaded = load_config(Path("apko.yaml"), include_paths=[Path("testdata")])
    async with engine(tmp_path) as work:
        origin = LockedConfig(name=loaded.name, checksum=loaded.checksum)
        lock, _ = await work.resolve(loaded.config, ARCHS, origin=origin)
        finished = complete(lock, await work.packages(lock))
    golden = read(case["golden_lock"])
    assert finished.dump() == golden
    assert Lock.parse(golden, "golden").dump() == golden


async def test_build_from_the_lock(tmp_path):
    case = CASES["build from lock"]
    config = load_config(Path(case["config"])).config
    lock = Lock.parse(read(case["lock"]), case["lock"])
    async with engine(tmp_path, offline=True) as work:
        images = await build_all(work, config, lock, ARCHS)
    for image in images:
        assert [f"{n}={v}" for n, v in image.packages] == case["expect"]["installed_packages"]


async def test_a_lock_with_other_data_is_refused(tmp_path):
    golden = json.loads(read("testdata/apko.lock.json"))
    wrong = base64.b64encode(hashlib.sha256(b"other").digest()).decode()
    golden["contents"]["packages"][0]["data"]["checksum"] = f"sha256-{wrong}"
    lock = Lock.parse(json.dumps(golden).encode(), "changed")
    async with engine(tmp_path) as work:
        with pytest.raises(Error, match="other data than the lock names"):
            await work.packages(lock)


def test_a_lock_without_checksums_is_refused():
    case = CASES["lock file too old"]
    name = case["expect"]["error"].split(" has")[0].removeprefix("locked package ")
    with pytest.raises(LockError, match=f"{name} has missing checksum"):
        Lock.parse(read(case["lock"]), case["lock"])


async def test_default_mode_is_the_same_every_time(tmp_path):
    config = load_config(Path("testdata/apko.yaml")).config
    digests = []
    for number in range(2):
        async with engine(tmp_path / str(number)) as work:
            lock, _ = await work.resolve(config, ARCHS)
            images = await build_all(work, config, lock, ARCHS)
            digests.append([digest_of(i.manifest) for i in images])
            digests.append([digest_of(i.sbom) for i in images])
    assert digests[:2] == digests[2:]


async def test_certificates_of_packages(tmp_path):
    case = CASES["certificates from packages"]
    config = load_config(Path(case["config"])).config
    async with engine(tmp_path) as work:
        lock, _ = await work.resolve(config, ARCHS)
        found = await work.packages(lock)
        packages = [found[p.architecture, p.name] for p in lock.packages(Arch.AMD64)]
    assert len(packages) == case["expect"]["installed_package_count"]
    tree = Tree(packages)
    tree.write(CA_BUNDLE, b"")
    add_certificates(tree, config.certificates)
    bundle = tree.content(tree.nodes[CA_BUNDLE])
    count = bundle.count(b"-----BEGIN CERTIFICATE-----")
    assert count == case["expect"]["certificates_in_bundle"]
    assert all(tree.resolve(path) for path in case["expect"]["files"])
    sidecar = tree.content(tree.nodes["etc/ssl/certs/.ca-certificates.crt.sha256"])
    assert sidecar.decode() == f"{hashlib.sha256(bundle).hexdigest()}  ca-certificates.crt\n"
    exact = CompatTree(packages)
    exact.write(CA_BUNDLE, b"")
    compatcertificates.add_certificates(exact, config.certificates, 0)
    compatcertificates.add_checksums(exact, 0)
    bundle_there = exact.content(exact.nodes[CA_BUNDLE])
    assert bundle_there.count(b"-----BEGIN CERTIFICATE-----") == count
    assert exact.content(exact.nodes["etc/ssl/certs/.ca-certificates.crt.sha256"]).decode() == (
        f"{hashlib.sha256(bundle_there).hexdigest()}  ca-certificates.crt\n"
    )
    again = compose(Recipe(Arch.AMD64, config, packages, {}))
    assert again.content(again.nodes[CA_BUNDLE]) == bundle


async def test_empty_layering_is_one_layer(tmp_path):
    case = CASES["empty layering object"]
    config = load_config(Path(case["config"])).config
    async with engine(tmp_path) as work:
        lock, _ = await work.resolve(config, [Arch.AMD64])
        image = await work.build(config, lock, Arch.AMD64)
    assert len(image.layers) == case["expect"]["layers"]


def test_include(monkeypatch):
    case = CASES["include of a file with no contents of its own"]
    monkeypatch.chdir(case["working_directory"])
    contents = load_config(Path(case["config"]).relative_to("include")).config.contents
    for name, value in case["expect"].items():
        assert getattr(contents, name) == value


def test_home_directories(monkeypatch):
    case = CASES["home directories of users"]
    monkeypatch.chdir(case["working_directory"])
    config = load_config(Path(case["config"]).relative_to("include")).config
    assert [u.gid for u in config.accounts.users] == [1, None]
    tree = compose(Recipe(Arch.AMD64, config, [], {}))
    lines = tree.content(tree.nodes["etc/passwd"]).decode().splitlines()[1:]
    assert [line.split(":")[5] for line in lines] == case["expect"]["homedirs"]
    for home in case["expect"]["homedirs"]:
        assert tree.nodes[home.strip("/")].mode == 0o700


GROUPS = json.loads((shared("apko") / "layer-groups.json").read_text())["cases"]


@pytest.mark.parametrize("case", GROUPS, ids=lambda case: case["name"])
def test_layer_groups(case):
    packages = [
        PackageInfo(
            name=p["name"],
            version=p.get("version", "1-r0"),
            origin=p["origin"],
            installed_size=p["installed_size"],
            replaces=tuple(p.get("replaces", ())),
        )
        for p in case["packages"]
    ]
    layering = Layering(strategy="origin", budget=case["budget"])
    groups = layer_groups(packages, layering)
    assert [[packages[n].name for n in group] for group in groups] == [
        expected["packages"] for expected in case["expect"]
    ]


TABLES = json.loads((shared("apko") / "tables.json").read_text())


@pytest.mark.parametrize("case", TABLES["validate_image_config"], ids=lambda case: case["name"])
def test_validation(case):
    if case.get("valid"):
        ImageConfiguration.model_validate(case["config"])
        return
    with pytest.raises(ValueError, match=case["error_contains"]):
        ImageConfiguration.model_validate(case["config"])


@pytest.mark.parametrize("case", TABLES["user_ids"], ids=lambda case: case["name"])
def test_user_ids(case):
    user = parse_config(case["yaml"], "case.yaml").accounts.users[0]
    assert (user.uid, user.gid) == (case["uid"], case["gid"])


def _configurations():
    for path in sorted(shared("apko").glob("**/*.yaml")):
        if "melange" not in path.name:
            yield pytest.param(path.read_text(), id=path.name)
    for path in sorted(shared("images").glob("*/locked_config.json")):
        for name, image in json.loads(path.read_text())["imageLocks"].items():
            for kind in ("configs", "devConfigs", "fullConfigs"):
                for arch, text in (image.get(kind) or {}).items():
                    value = json.loads(text)["config"]
                    yield pytest.param(json.dumps(value), id=f"{name}-{kind}-{arch}")


@pytest.mark.parametrize("text", list(_configurations()))
def test_published_configurations_are_read(text):
    config = parse_config(text, "file.yaml")
    # JSON is YAML, and what was read can be written and read again.
    again = config.model_dump_json(by_alias=True, exclude_defaults=True)
    assert parse_config(again, "again.yaml") == config


def test_our_examples_are_read():
    root = Path(__file__).parents[2]
    for path in (root / "examples" / "image.yaml", *(root / "images").glob("*.yaml")):
        assert load_config(path).config.contents.packages
