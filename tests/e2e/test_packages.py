"""Packages from source on the real cluster: what is built, what is not built again, what is kept
from steps, and what people read when something is wrong."""

from __future__ import annotations

import json
import textwrap
import urllib.request

import pytest

import package_sources
from build_tools import build_tools
from plimsoll.apk.index import read_index
from plimsoll.apk.keys import Keyring
from plimsoll.apk.version import Version
from plimsoll.builder.ocirepo import INDEX_FILE, file_tag
from scenario import packages
from scenario.packages import CONFIGURATIONS, IMAGE, SHOP, configure, ready, repo
from scenario.shell import wait_for

pytestmark = pytest.mark.e2e

STORAGE = "workshop/packages"


class Shop:
    """The example's PackageRepo with its sources at hand."""

    def __init__(self, world, folder, address):
        self.world = world
        self.folder = folder
        self.entries = packages.configurations(address, world.work / "configurations")

    def index(self, arch="x86_64"):
        """The signed index, as it lies in the registry, verified by the keys of the status."""
        keys = {key["name"]: key["data"] for key in repo(self.world)["status"]["publicKeys"]}
        place = f"{self.world.registry}/{STORAGE}"
        manifest = json.loads(self.world.crane("manifest", f"{place}:{file_tag(arch, INDEX_FILE)}"))
        digest = manifest["layers"][0]["digest"]
        url = f"http://{self.world.registry}/v2/{STORAGE}/blobs/{digest}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return read_index(answer.read(), Keyring(keys), source=url)

    def versions(self):
        """The newest entry of each package."""
        index = self.index()
        return {
            name: max(index.named(name), key=lambda entry: Version.parse(entry.version))
            for name in index.names()
        }

    def records(self):
        """Finished builds, by id."""
        return {each["id"]: each for each in repo(self.world)["status"].get("history", [])}

    def change(self, entries):
        """Give new configurations; names of the packages that were built until all came to rest."""
        before = self.records()
        self.entries |= entries
        configure(self.world, self.entries)

        def rested():
            built = {key: one for key, one in self.records().items() if key not in before}
            found = repo(self.world)["status"]["conditions"]
            state = {each["type"]: each["status"] for each in found}
            wanted = {"PackagesBuilt": "True", "Reconciling": "False", "Ready": "True"}
            return built if built and wanted.items() <= state.items() else None

        built = wait_for("the change to be published", rested, seconds=300)
        assert all(each["state"] == "Published" for each in built.values()), built
        return {each["name"] for each in built.values()}


@pytest.fixture(scope="module")
def shop(world):
    with packages.sources(world) as (folder, address):
        yield Shop(world, folder, address)


def test_packages_become_an_image_that_runs(world, shop):
    assert "packages built and signed" in packages.image_of(world, shop.entries)
    status = repo(world)["status"]
    assert status["progress"] == "5/5"
    assert set(shop.index().names()) == {*CONFIGURATIONS, "tonnage-dev"}
    shown = world.kubectl("get", "packagerepo", SHOP, "-n", SHOP)
    assert "5/5" in shown, shown


def test_a_sandbox_on_a_workstation_makes_the_same_bytes(world, shop, tmp_path):
    """The checksum of a package's control section holds the hash of its data."""
    tools = build_tools()
    key = ["-k", *tools.glob("*.rsa.pub")]
    for name in CONFIGURATIONS:
        own = ["-r", tmp_path, "--ignore-signatures"] if (tmp_path / "x86_64").exists() else []
        world.plimsoll(
            *("package", "build", world.work / f"configurations/{name}.yaml", "--arch", "amd64"),
            *("--out-dir", tmp_path, "-r", tools, *key, *own),
        )
    path = tmp_path / "x86_64/APKINDEX.tar.gz"
    here = read_index(path.read_bytes(), None, source=str(path))
    for name, entry in shop.versions().items():
        assert here.named(name)[0].checksum == entry.checksum, name


def test_one_changed_source_builds_one_package_and_the_image(world, shop):
    before = shop.versions()
    image = world.get("imagebuild", IMAGE, "-n", SHOP)["status"]["digest"]
    ships = {"ships.csv": "Titanic,46328\n"}
    digest = package_sources.add(shop.folder, "ships", "1912", ships)
    text = shop.entries["ships.yaml"].replace('"1869"', '"1912"')
    old = text.partition("expected-sha256: ")[2].split()[0]
    text = text.replace(old, digest).replace("grep Vasa", "grep Titanic")
    assert shop.change({"ships.yaml": text}) == {"ships"}
    after = shop.versions()
    changed = {name for name in after if after[name].version != before[name].version}
    assert changed == {"ships"}

    def rebuilt():
        found = world.get("imagebuild", IMAGE, "-n", SHOP)["status"]
        return found["digest"] if found["digest"] != image else None

    wait_for("the image of the new package", rebuilt, seconds=200)
    found = ready(world, "imagebuild", IMAGE)
    name = f"{found['spec']['output']['repository']}@{found['status']['digest']}"
    assert packages.run(world, name).startswith("Titanic: ")


def test_another_abi_builds_what_links_the_library(world, shop):
    """A function goes: the program that links the library is built again, nothing else is."""
    before = shop.versions()
    folder = package_sources.EXAMPLES / "sources/tonnage"
    # Functions that come in addition would be no reason.
    old, new = "tonnage_version", "tonnage_release"
    changes = {
        name: (folder / name).read_text().replace(old, new) for name in ("tonnage.c", "tonnage.h")
    }
    changes["Makefile"] = (folder / "Makefile").read_text().replace("1.2.0", "1.3.0")
    digest = package_sources.add(shop.folder, "tonnage", "1.3.0", changes)
    text = shop.entries["tonnage.yaml"].replace(old, new)
    text = text.replace("version: 1.2.0", "version: 1.3.0", 1)
    old = text.partition("expected-sha256: ")[2].split()[0]
    assert shop.change({"tonnage.yaml": text.replace(old, digest)}) == {"tonnage", "loadline"}
    after = shop.versions()
    assert after["loadline"].version == "2.1.0-r1"
    assert after["manifest"].version == before["manifest"].version


PROBE = """
import os, socket, sys
got = []
for host, port in {targets!r}:
    try:
        socket.create_connection((host, port), timeout=3).close()
        got.append(f"reached {{host}}:{{port}}")
    except OSError:
        pass
for path in ("/var/run/secrets", "/run/secrets", "/etc/plimsoll", "/proc/1/root/etc/plimsoll"):
    if os.path.exists(path):
        got.append(f"saw {{path}}")
for path in ("/usr/bin/new", "/etc/new", "/.plimsoll/new"):
    try:
        open(path, "w").close()
        got.append(f"wrote {{path}}")
    except OSError:
        pass
got += [f"has {{name}}" for name in os.environ if "TOKEN" in name or "SECRET" in name]
print("GOT", got)
"""


def probe(world):
    node = world.registry.partition(":")[0]
    service = world.get("service", "kubernetes", "-n", "default")["spec"]["clusterIP"]
    targets = [
        (node, 6443), (service, 443), (node, int(world.registry.partition(":")[2])),
        (world.cluster.host_address, int(world.packages_url.rpartition(":")[2])),
        ("169.254.169.254", 80),
    ]  # fmt: skip
    return PROBE.format(targets=targets)


def lone(world, name, text):
    """Make a PackageRepo of one configuration."""
    made = json.dumps({
        "apiVersion": "plimsoll.dev/v1alpha1", "kind": "PackageRepo",
        "metadata": {"name": name, "namespace": SHOP},
        "spec": {"packages": {
            "sources": [{"name": "one", "inline": text}], "archs": ["amd64"],
            "repositories": [{"name": "base"}],
            "storage": {"repository": f"{world.registry}/workshop/{name}"},
        }},
    })  # fmt: skip
    world.kubectl("apply", "-f", "-", stdin=made)


def package(name, script, extra=""):
    steps = textwrap.indent(textwrap.dedent(script).strip(), "      ")
    return (
        f"package: {{name: {name}, version: '1', epoch: 0, description: a test}}\n"
        f"environment: {{contents: {{packages: [busybox, coreutils, python3]}}}}\n{extra}"
        f"pipeline:\n  - runs: |\n{steps}\n"
    )


def condition(world, name, kind):
    status = world.get("packagerepo", name, "-n", SHOP).get("status", {})
    return next((c for c in status.get("conditions", []) if c["type"] == kind), {})


def test_a_step_gets_neither_secrets_nor_network_nor_other_folders(world, shop):
    script = f"""
python3 - >got <<'END'
{probe(world)}
END
cat got
install -Dm644 got "${{{{targets.destdir}}}}/usr/share/prying/got"
grep -qx "GOT \\[\\]" got
"""
    text = "".join(f"      {line}\n" if line else "\n" for line in script.strip("\n").splitlines())
    made = package("prying", "true").replace("      true\n", text)
    lone(world, "prying", made)
    ready(world, "packagerepo", "prying", seconds=200)

    # The same probe elsewhere reaches what there is: it would have told.
    guest = next(
        init["image"]
        for job in world.get("jobs", "-n", SHOP)["items"]
        if job["metadata"]["labels"].get("plimsoll.dev/step") == "build"
        for init in job["spec"]["template"]["spec"]["initContainers"]
        if "workshop/prying@" in init["image"]
    )
    spec = {"restartPolicy": "Never", "containers": [
        {"name": "c", "image": guest, "command": ["python3", "-c", probe(world)]}
    ]}  # fmt: skip
    meta = {"name": "probe", "namespace": SHOP}
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}
    world.kubectl("create", "-f", "-", stdin=json.dumps(body))
    wait_for(
        "the probe to end",
        lambda: world.get("pod", "probe", "-n", SHOP)["status"]["phase"] in {"Succeeded", "Failed"},
    )
    said = world.kubectl("logs", "probe", "-n", SHOP)
    assert f"reached {world.registry}" in said, said
    assert "saw /var/run/secrets" in said or "saw /run/secrets" in said, said


def test_a_failure_shows_its_last_lines_and_blocks_what_needs_it(world, shop):
    made = {
        "broken": package("broken", "echo the keel is cracked\nexit 7"),
        "needy": package("needy", "true").replace("python3]", "broken]"),
        "sound": package("sound", 'install -d "${{targets.destdir}}/usr/share/sound"'),
    }
    sources = [{"name": name, "inline": text} for name, text in made.items()]
    body = {
        "apiVersion": "plimsoll.dev/v1alpha1", "kind": "PackageRepo",
        "metadata": {"name": "mixed", "namespace": SHOP},
        "spec": {"packages": {
            "sources": sources, "repositories": [{"name": "base"}],
            "storage": {"repository": f"{world.registry}/workshop/mixed"},
        }},
    }  # fmt: skip
    world.kubectl("apply", "-f", "-", stdin=json.dumps(body))

    def settled():
        found = condition(world, "mixed", "PackagesBuilt")
        status = world.get("packagerepo", "mixed", "-n", SHOP).get("status", {})
        done = status.get("counts", {}).get("published") == 1 and status.get("blocked")
        return (status, found) if done and found.get("status") == "False" else None

    status, found = wait_for("the failure to show", settled, seconds=200)
    assert "broken" in found["message"], found
    failed = next(build for build in status["builds"] if build["state"] == "Failed")
    assert failed["name"] == "broken"
    assert "the keel is cracked" in failed["failure"]["message"], failed
    assert [each["name"] for each in status["blocked"]] == ["needy"]
    events = world.kubectl("get", "events", "-n", SHOP, "-o", "json")
    assert "the keel is cracked" in events
