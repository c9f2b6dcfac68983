"""The four steps of a build against real registries, as Jobs run them."""

from __future__ import annotations

import base64
import contextlib
import functools
import http.server
import json
import subprocess
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from apk_repository import Repository
from command import plimsoll, run
from gotools import tool
from plimsoll.signing.privatekey import generate_key
from plimsoll.signing.statement import CYCLONEDX, SLSA_PROVENANCE_V1, SPDX, VULN
from registries import crane_registry, distribution_registry

pytestmark = pytest.mark.integration

NOW = datetime(2026, 11, 21, 6, 44, tzinfo=UTC)


@pytest.fixture(params=[distribution_registry, crane_registry], ids=["tag fallback", "referrers"])
def registry(request):
    with request.param() as server:
        yield server


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = Repository(tmp_path / "repo")
    made.add("base", {"etc/os-release": "ID=test\nNAME=Test\nVERSION_ID=1\n"}, licenses=("MIT",))
    made.add("app", {"usr/bin/app": "x" * 5000}, "2.1-r3", depends=("base",))
    made.write()
    return made


class Build:
    """One build: its request, and how to run its steps as processes."""

    def __init__(self, tmp: Path, registry, repository: Repository) -> None:
        self.tmp = tmp
        self.image = f"{registry.host}/team/app"
        self.keys = tmp / "keys"
        self.keys.mkdir()
        key = generate_key()
        (self.keys / "cosign.key").write_bytes(key.to_pem("secret"))
        (self.keys / "cosign.password").write_text("secret")
        (self.keys / "cosign.pub").write_bytes(key.public.pem)
        self.request = {
            "buildId": "b1",
            "name": "app",
            "namespace": "team",
            "uid": "1-2-3",
            "image": {
                "contents": {"packages": ["app"]},
                "entrypoint": {"command": "/usr/bin/app"},
                "accounts": {"run-as": "65532"},
            },
            "repositories": [
                {
                    "url": str(repository.root),
                    "keys": {repository.key.name: repository.key.public_pem().decode()},
                }
            ],
            "archs": ["amd64", "arm64"],
            "output": {
                "repository": self.image,
                "tags": ["latest", "${timestamp}", "v${package.app.version}"],
            },
            "started": NOW.isoformat(),
            "builderId": "https://plimsoll.dev/test",
            "trustedHosts": ["127.0.0.1"],
        }

    def step(self, name: str, *arguments: str, status: int = 0, cache: str = "cache") -> dict:
        (self.tmp / "request.json").write_text(json.dumps(self.request))
        result = self.tmp / "result.json"
        result.unlink(missing_ok=True)
        words = ("step", name, "--request", self.tmp / "request.json", "--result", result)
        run(self.tmp / cache, *words, *arguments, status=status)
        return json.loads(result.read_text())

    def until_seal(self) -> tuple[dict, list[str], dict]:
        plan = self.step("plan")
        arguments = ["--plan-lock", plan["lock"], "--key", str(self.keys)]
        for arch in self.request["archs"]:
            done = self.step("assemble", "--arch", arch, "--plan-lock", plan["lock"])
            arguments += ["--assembled", json.dumps(done)]
        return plan, arguments, self.step("seal", *arguments)

    def cosign(self, *arguments: str) -> str:
        done = subprocess.run(
            [
                str(tool("cosign")),
                *arguments,
                *("--key", str(self.keys / "cosign.pub"), "--insecure-ignore-tlog=true"),
                "--allow-http-registry",
            ],
            capture_output=True,
            check=False,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


def crane(*arguments: str) -> str:
    done = subprocess.run(
        [str(tool("crane")), *arguments, "--insecure"],
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def referrers_count(build: Build, digest: str) -> int:
    done = crane("manifest", f"{build.image}:sha256-{digest[7:]}")
    return len(json.loads(done)["manifests"])


def test_from_request_to_tags(tmp_path, registry, repository):
    build = Build(tmp_path, registry, repository)
    plan, _, sealed = build.until_seal()
    assert plan["packages"] == 4
    assert plan["tags"] == ["latest", "20261121064400", "v2.1-r3"]
    assert not plan["unchanged"]
    assert sealed["signed"]
    index = json.loads(crane("manifest", f"{build.image}@{sealed['digest']}"))
    assert [m["platform"]["architecture"] for m in index["manifests"]] == ["amd64", "arm64"]

    tags = [argument for tag in plan["tags"] for argument in ("--tag", tag)]
    promoted = build.step("promote", "--digest", sealed["digest"], *tags)
    assert promoted["tags"][0] == "20261121064400"
    crane("validate", "--remote", f"{build.image}:latest")
    for tag in plan["tags"]:
        assert crane("digest", f"{build.image}:{tag}").strip() == sealed["digest"]

    # What tools of others say of the index and of each image below it.
    for digest in (sealed["digest"], *(m["digest"] for m in index["manifests"])):
        image = f"{build.image}@{digest}"
        build.cosign("verify", image)
        for kind in ("spdxjson", "slsaprovenance1"):
            build.cosign("verify-attestation", "--type", kind, image)

    # Nothing changed: the next plan says so, and a forced one does not.
    build.request["previousInputsHash"] = plan["inputsHash"]
    build.request["buildId"] = "b2"
    assert build.step("plan")["unchanged"]
    build.request["force"] = True
    assert not build.step("plan")["unchanged"]


def test_variants_are_images_of_their_own_under_other_tags(tmp_path, repository):
    repository.add("shell", {"usr/bin/sh": "#!x\n"})
    repository.write()
    with crane_registry() as registry:
        build = Build(tmp_path, registry, repository)
        dev = {**build.request["image"], "contents": {"packages": ["app", "shell"]}}
        dev["entrypoint"] = {"command": "/usr/bin/sh"}
        tags = ["latest-dev", "v${package.app.version}-dev"]
        build.request["variants"] = [{"name": "dev", "image": dev, "tags": tags}]
        plan = build.step("plan")
        (other,) = plan["variants"]
        assert (plan["packages"], other["packages"]) == (4, 6)
        assert other["tags"] == ["latest-dev", "v2.1-r3-dev"]
        digests = {}
        for option, found in ((), plan), (("--variant", "dev"), other):
            arguments = [*option, "--plan-lock", found["lock"], "--key", str(build.keys)]
            for arch in build.request["archs"]:
                lock = ("--plan-lock", found["lock"])
                done = build.step("assemble", *option, "--arch", arch, *lock)
                arguments += ["--assembled", json.dumps(done)]
            sealed = build.step("seal", *arguments)
            words = [word for tag in found["tags"] for word in ("--tag", tag)]
            build.step("promote", "--digest", sealed["digest"], *words)
            digests[option] = sealed["digest"]
        plain, variant = digests.values()
        assert crane("digest", f"{build.image}:latest").strip() == plain
        assert crane("digest", f"{build.image}:v2.1-r3-dev").strip() == variant != plain
        shown = json.loads(crane("config", f"{build.image}:latest-dev"))
        assert shown["config"]["Entrypoint"] == ["/usr/bin/sh"]
        for digest, name in ((plain, None), (variant, "dev")):
            (line,) = build.cosign(
                "verify-attestation", "--type", "slsaprovenance1", f"{build.image}@{digest}"
            ).splitlines()
            statement = json.loads(base64.b64decode(json.loads(line)["payload"]))
            asked = statement["predicate"]["buildDefinition"]["externalParameters"]
            assert asked.get("variant") == name

        # A change in one of them is a change of the build.
        build.request["previousInputsHash"] = plan["inputsHash"]
        assert build.step("plan")["unchanged"]
        dev["environment"] = {"DEBUG": "1"}
        assert not build.step("plan")["unchanged"]

        lock = ("--plan-lock", plan["lock"], "--arch", "amd64")
        failure = build.step("assemble", "--variant", "nope", *lock, status=3)
        assert "no variant 'nope'" in failure["message"]
        build.request["output"]["tags"] = ["latest", "${package.app.stems}"]
        assert build.step("plan")["tags"] == ["latest", "2", "2.1"]
        build.request["variants"][0]["tags"] = ["${package.app.version}"]
        build.request["output"]["tags"] = ["2.1-r3"]
        failure = build.step("plan", status=3)
        assert failure["reason"] == "InvalidRequest"
        assert "the image and variant dev would have the same tag '2.1-r3'" in failure["message"]


def test_steps_can_be_repeated(tmp_path, repository):
    with distribution_registry() as registry:
        build = Build(tmp_path, registry, repository)
        _, arguments, sealed = build.until_seal()
        before = referrers_count(build, sealed["digest"])
        assert build.step("seal", *arguments) == sealed
        assert referrers_count(build, sealed["digest"]) == before == 3
        lock = arguments[1]
        assert json.loads(arguments[-1]) == build.step(
            "assemble", "--arch", "arm64", "--plan-lock", lock, cache="another"
        )
        _, _, again = build.until_seal()
        assert again == sealed


def test_failures_say_whether_to_try_again(tmp_path, registry, repository):
    build = Build(tmp_path, registry, repository)
    build.request["image"]["contents"]["packages"] = ["ap"]
    failure = build.step("plan", status=3)
    assert failure["reason"] == "PackageNotFound"
    assert "app" in failure["message"]
    build.request["image"]["contents"]["packages"] = ["app"]
    build.request["output"]["tags"] = ["${package.nope.version}"]
    assert build.step("plan", status=3)["reason"] == "InvalidRequest"
    build.request["output"] = {"repository": "127.0.0.1:1/nobody/listens"}
    failure = build.step("plan", status=1)
    assert failure["retryable"]
    build.request["image"]["nonsense"] = 1
    assert build.step("plan", status=3)["reason"] == "InvalidRequest"


def test_a_job_asks_no_host_that_only_its_node_should_reach(tmp_path, registry, repository):
    """Registry and repositories are the words of whoever wrote the ImageBuild."""
    build = Build(tmp_path, registry, repository)
    build.request["trustedHosts"] = []
    failure = build.step("plan", status=3)
    assert "loopback" in failure["message"]
    assert failure["retryable"] is False


def test_a_base_image_in_a_job(tmp_path, repository):
    """From a registry only; a new base is a new build, and the provenance names it."""
    with crane_registry() as registry:
        config = tmp_path / "base.yaml"

        def publish(version):
            config.write_text(
                f"contents:\n  keyring: [{repository.key_file}]\n  packages: [base]\n"
                f"  repositories: [{repository.root}]\narchs: [amd64]\n"
                f"annotations: {{version: '{version}'}}\n"
            )
            words = (config, f"{registry.host}/base:1", "--progress", "none")
            return plimsoll(tmp_path / "cache", "publish", *words)

        publish(1)
        build = Build(tmp_path, registry, repository)
        build.request["archs"] = ["amd64"]
        build.request["image"] = {
            "contents": {"packages": ["app"], "baseimage": {"image": f"{registry.host}/base:1"}}
        }
        plan, _, sealed = build.until_seal()
        assert plan["packages"] == 1, "what the base brings is not installed again"
        crane("validate", "--remote", f"{build.image}@{sealed['digest']}")
        (line,) = build.cosign(
            "verify-attestation", "--type", "slsaprovenance1", f"{build.image}@{sealed['digest']}"
        ).splitlines()
        statement = json.loads(base64.b64decode(json.loads(line)["payload"]))
        used = statement["predicate"]["buildDefinition"]["resolvedDependencies"]
        assert [d["name"].partition(" ")[0] for d in used].count("base") == 1
        build.request["previousInputsHash"] = plan["inputsHash"]
        assert build.step("plan")["unchanged"]
        publish(2)
        assert not build.step("plan")["unchanged"]
        layout = tmp_path / "layout"
        layout.mkdir()
        build.request["image"]["contents"]["baseimage"]["image"] = str(layout)
        assert build.step("plan", status=3)["reason"] != "InternalError"


@contextlib.contextmanager
def static_server(folder: Path):
    """Serve a folder on loopback; yields the URL."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Say nothing."""

    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_what_is_known_of_an_image_is_attested_and_renewed(tmp_path, repository):
    """SBOMs in both formats, the report of a scan, the gate, and a later scan of the same image."""
    database = tmp_path / "db"
    database.mkdir()
    fixes = {"packages": [{"pkg": {"name": "app", "secfixes": {"9-r0": ["CVE-2099-1"]}}}]}
    with static_server(database) as url, crane_registry() as registry:
        (database / "security.json").write_text(json.dumps(fixes))
        build = Build(tmp_path, registry, repository)
        build.request["attest"] = {"cyclonedx": True}
        build.request["scan"] = {"databases": [f"{url}/security.json"], "failOn": ["unknown"]}
        plan = build.step("plan")
        arguments = ["--plan-lock", plan["lock"], "--key", str(build.keys)]
        for arch in build.request["archs"]:
            done = build.step("assemble", "--arch", arch, "--plan-lock", plan["lock"])
            arguments += ["--assembled", json.dumps(done)]
        failure = build.step("seal", *arguments, status=3)
        assert failure["reason"] == "Vulnerable"
        assert "CVE-2099-1" in failure["message"]

        build.request["scan"]["ignore"] = [
            {"id": "CVE-2099-1", "reason": "not reached", "until": "2999-01-01T00:00:00Z"}
        ]
        sealed = build.step("seal", *arguments)
        assert set(sealed["attestations"]) == {SPDX, CYCLONEDX, SLSA_PROVENANCE_V1, VULN}
        assert build.step("seal", *arguments) == sealed
        image = f"{build.image}@{sealed['digest']}"
        build.cosign("verify-attestation", "--type", "cyclonedx", image)
        assert reports(build, image) == [[]]

        del build.request["scan"]["ignore"]
        build.request["scan"]["failOn"] = []
        build.request["buildId"] = "b2"
        key = ("--key", str(build.keys))
        again = build.step("rescan", "--digest", sealed["digest"], *key)
        assert again["attestations"] == [VULN]
        build.step("rescan", "--digest", sealed["digest"], *key)
        assert sorted(reports(build, image)) == [[], ["CVE-2099-1"]]
        build.request["scan"]["failOn"] = ["unknown"]
        assert build.step("rescan", "--digest", sealed["digest"], *key, status=3)["reason"] == (
            "Vulnerable"
        )
        build.request["scan"]["databases"] = [f"{url}/nothing.json"]
        build.step("seal", *arguments, status=3)


def reports(build: Build, image: str) -> list[list[str]]:
    """The vulnerabilities of each attested report."""
    found = []
    for line in build.cosign("verify-attestation", "--type", "vuln", image).splitlines():
        statement = json.loads(base64.b64decode(json.loads(line)["payload"]))
        results = statement["predicate"]["scanner"]["result"]["Results"]
        found.append(sorted({v["VulnerabilityID"] for r in results for v in r["Vulnerabilities"]}))
    return found
