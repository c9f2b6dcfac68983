"""The seal step signs as its ServiceAccount: real API server, real sigstore servers."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from apiserver import control_plane
from apk_repository import Repository
from cluster_sigstore import cluster_sigstore
from gotools import tool
from openbao import openbao
from operator_world import SETTINGS, World
from plimsoll.api.imagebuildstatus import Build, BuildInputs
from plimsoll.operator.jobs import step_job
from plimsoll.operator.lanes import Task
from plimsoll.operator.podspec import service_account
from plimsoll.webhook.trust import KnownRoots, parsed_root, public_root
from registries import crane_registry
from sigstore_servers import kubernetes_issuer, sigstore_servers
from webhooks import for_tests, push_image, serving

pytestmark = [pytest.mark.integration, pytest.mark.xdist_group("control-plane")]

ROOT = Path(__file__).parents[2]
PLIMSOLL = Path(sys.executable).parent / "plimsoll"
SEALER = "https://kubernetes.io/namespaces/default/serviceaccounts/plimsoll-seal"
KEYLESS = {
    "signingConfig": {"configMap": {"name": "sigstore", "key": "signing_config.json"}},
    "trustedRoot": {"configMap": {"name": "sigstore", "key": "trusted_root.json"}},
}


@pytest.fixture(scope="module")
def plane(tmp_path_factory):
    with control_plane(tmp_path_factory.mktemp("plane"), reachable_issuer=True) as plane:
        plane.publish_issuer()
        for name in ("plimsoll-build", "plimsoll-seal"):
            body = json.dumps(service_account("default", name))
            plane.kubectl("apply", "-f", "-", stdin=body)
        yield plane


@pytest.fixture(scope="module")
def servers(plane):
    with sigstore_servers(kubernetes_issuer(plane.url, plane.certificate)) as running:
        yield running


def token(plane, account="plimsoll-seal", audience="sigstore"):
    audiences = ("--audience", audience) if audience else ()
    return plane.kubectl("create", "token", account, *audiences).stdout


def seal_job():
    """The Job as the operator makes it."""
    build = Build(
        id="app-1-abcdef",
        number=1,
        reason="Configuration",
        state="Running",
        started_at=datetime.now(UTC),
        inputs=BuildInputs(generation=1, configuration="c", repositories="r", output="o"),
    )
    job = step_job(World(signing={"keyless": KEYLESS}).desired, build, Task("seal"), SETTINGS)
    job["metadata"]["namespace"] = "default"
    return job


def test_the_api_server_takes_the_job_with_its_token(plane):
    body = json.dumps(seal_job())
    done = plane.kubectl("apply", "--dry-run=server", "-o", "json", "-f", "-", stdin=body)
    pod = json.loads(done.stdout)["spec"]["template"]["spec"]
    assert pod["serviceAccountName"] == "plimsoll-seal"
    (volume,) = (one for one in pod["volumes"] if "projected" in one)
    assert "serviceAccountToken" in volume["projected"]["sources"][-1]


def run(*argv, status=0, **environ):
    done = subprocess.run(
        [str(word) for word in argv],
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == status, f"{argv}: {done.stdout}\n{done.stderr}"
    return done.stdout if status == 0 else done.stderr


class Steps:
    """The steps of one build, run as processes."""

    def __init__(self, folder, host, **output):
        self.folder = folder
        repository = Repository(folder / "repo")
        repository.add("base", {"etc/os-release": "ID=test\n"}, licenses=("MIT",))
        repository.write()
        self.image = f"{host}/team/app"
        keys = {repository.key.name: repository.key.public_pem().decode()}
        request = {
            "buildId": "b1",
            "name": "app",
            "namespace": "default",
            "uid": "1-2-3",
            "image": {"contents": {"packages": ["base"]}},
            "repositories": [{"url": str(repository.root), "keys": keys}],
            "archs": ["amd64"],
            "output": {"repository": self.image, "tags": ["latest"], **output},
            "started": datetime.now(UTC).isoformat(),
            "builderId": "https://plimsoll.dev/test",
            "trustedHosts": ["127.0.0.1"],
        }
        (folder / "request.json").write_text(json.dumps(request))
        plan = self.step("plan")
        lock = ("--plan-lock", plan["lock"])
        done = self.step("assemble", "--arch", "amd64", *lock)
        self.arguments = (*lock, "--assembled", json.dumps(done))

    def step(self, name, *arguments, status=0):
        result = self.folder / "result.json"
        files = ("--request", self.folder / "request.json", "--result", result)
        cache = str(self.folder / "cache")
        run(PLIMSOLL, "step", name, *files, *arguments, status=status, PLIMSOLL_CACHE_DIR=cache)
        return json.loads(result.read_text())


def test_seal_signs_as_its_service_account(plane, servers, tmp_path):
    mounted = tmp_path / "signing"
    mounted.mkdir()
    for path in (servers.signing_config, servers.trusted_root):
        (mounted / path.name).write_bytes(path.read_bytes())
    (mounted / "token").write_text(token(plane, audience="other"))
    with crane_registry() as registry:
        steps = Steps(tmp_path, registry.host)
        arguments = (*steps.arguments, "--keyless", mounted)
        failure = steps.step("seal", *arguments, status=3)
        assert failure["reason"] == "SigningServiceFailed"
        assert "another audience" in failure["message"] or "audience?" in failure["message"]

        (mounted / "token").write_text(token(plane))
        sealed = steps.step("seal", *arguments)
        assert sealed["signed"]
        image = f"{steps.image}@{sealed['digest']}"
        root = ("--trusted-root", servers.trusted_root, "--insecure-ignore-sct")
        ours = (*root, "--identity", SEALER, "--issuer", plane.url)
        assert f"signature by {SEALER}" in run(PLIMSOLL, "verify", image, *ours)
        for kind in ("spdxjson", "slsaprovenance1"):
            run(PLIMSOLL, "verify", image, *ours, "--type", kind)
        who = ("--certificate-identity", SEALER, "--certificate-oidc-issuer", plane.url)
        stamped = (*root, *who, "--use-signed-timestamps")
        run(tool("cosign"), "verify", *stamped, image)
        run(tool("cosign"), "verify-attestation", *stamped, "--type", "spdxjson", image)

        def attached():
            found = run(tool("cosign"), "tree", image)
            return found.count("sha256:")

        before = attached()
        assert steps.step("seal", *arguments) == sealed, "another try"
        assert attached() == before, "what is attached already is not attached again"

        other = (*root, "--identity", SEALER.replace("seal", "build"), "--issuer", plane.url)
        assert "not trusted here" in run(PLIMSOLL, "verify", image, *other, status=1)

        request = json.loads((tmp_path / "request.json").read_text())
        closed = {"trustedHosts": [], "insecureRegistries": [registry.host]}
        (tmp_path / "request.json").write_text(json.dumps(request | closed))
        failure = steps.step("seal", *arguments, status=3)
        assert failure["reason"] == "SigningServiceFailed"
        assert "loopback" in failure["message"], "its author cannot make the Job ask its node"

        request["output"]["legacySignatures"] = True
        (tmp_path / "request.json").write_text(json.dumps(request))
        failure = steps.step("seal", *arguments, status=3)
        assert "legacy signatures need a key" in failure["message"]


async def test_the_webhook_admits_what_a_service_account_signed(plane, servers, tmp_path):
    """Token → Fulcio → Rekor v2 and timestamp → bundle → policy on issuer and subject."""
    root = KnownRoots({("plimsoll.dev", "r"): parsed_root(servers.trusted_root.read_bytes())})
    public = KnownRoots({("plimsoll.dev", "r"): public_root()})
    who = {"issuer": plane.url, "subject": SEALER}
    witnesses = {"ctlog": {"trustRootRef": "r"}, "rfc3161timestamp": {"trustRootRef": "r"}}

    def spec(*, predicate=None, **identity):
        keyless = {
            "trustRootRef": "r",
            "identities": [who | identity],
            "insecureIgnoreSCT": True,
        }
        authority = {"name": "seal", "keyless": keyless, **witnesses}
        if predicate is not None:
            authority["attestations"] = [{"name": "sbom", "predicateType": predicate}]
        return {"images": [{"glob": "**"}], "authorities": [authority]}

    services = ("--signing-config", servers.signing_config, "--trusted-root", servers.trusted_root)
    predicate = tmp_path / "sbom.json"
    predicate.write_text('{"spdxVersion": "SPDX-2.3", "packages": []}')
    with crane_registry() as registry:
        image = await push_image(registry.host, "app", "1", "a")

        async def sign(account, *command):
            (tmp_path / "token").write_text(token(plane, account))
            who = ("--keyless", *services, "--identity-token", tmp_path / "token")
            await asyncio.to_thread(run, PLIMSOLL, *command, image, *who)

        await sign("plimsoll-build", "sign")
        async with serving(for_tests(registry.host)) as webhook:
            webhook.policies.set(trust=root, sealed=spec())
            message = (await webhook.admit(image))["status"]["message"]
            assert "serviceaccounts/plimsoll-build" in message
            assert "who is not trusted here" in message
            await sign("plimsoll-seal", "sign")
            await sign("plimsoll-seal", "attest", "-t", "spdxjson", "-p", predicate)
            for trust, policy, allowed in (
                (root, spec(), True),
                (root, spec(predicate="spdxjson"), True),
                (root, spec(predicate="vuln"), False),
                (root, spec(subject=SEALER.replace("default", "other")), False),
                (root, spec(issuer="https://issuer.example"), False),
                (public, spec(), False),
            ):
                webhook.verifier.cache.clear()
                webhook.policies.set(trust=trust, sealed=policy)
                answer = await webhook.admit(image)
                assert answer["allowed"] is allowed, answer


def test_seal_signs_with_a_key_that_its_service_account_may_use(plane, tmp_path):
    mounted = tmp_path / "signing"
    mounted.mkdir()
    with crane_registry() as registry, openbao() as bao:
        (mounted / "kms_reference").write_text(bao.key("seal"))
        (mounted / "VAULT_ADDR").write_text(f"{bao.address}\n")
        (mounted / "VAULT_ROLE").write_text("seal\n")
        trust_service_accounts(plane, bao, "seal")
        (mounted / "token").write_text(token(plane, "plimsoll-build", audience=""))
        steps = Steps(tmp_path, registry.host, legacySignatures=True)
        arguments = (*steps.arguments, "--kms", mounted)
        failure = steps.step("seal", *arguments, status=3)
        assert "refused the role seal to this ServiceAccount" in failure["message"]

        (mounted / "token").write_text(token(plane, audience=""))
        sealed = steps.step("seal", *arguments)
        assert sealed["signed"]
        image = f"{steps.image}@{sealed['digest']}"
        public = tmp_path / "cosign.pub"
        keys = bao.ask("GET", "transit/keys/seal")["data"]["keys"]
        public.write_text(keys["1"]["public_key"] + "\n")
        run(PLIMSOLL, "verify", image, "--key", public, "--type", "spdxjson")
        offline = ("--key", public, "--insecure-ignore-tlog=true")
        run(tool("cosign"), "verify", *offline, image)
        run(tool("cosign"), "verify", *offline, "--new-bundle-format=false", image)


def trust_service_accounts(plane, bao, key):
    """Let the ServiceAccount that seals sign with one key."""
    account = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": "reviewer", "namespace": "default"},
    }
    plane.kubectl("apply", "-f", "-", stdin=json.dumps(account))
    may = ("--clusterrole=system:auth-delegator", "--serviceaccount=default:reviewer")
    plane.kubectl("create", "clusterrolebinding", "reviewer", *may)
    bao.ask("POST", "sys/auth/kubernetes", {"type": "kubernetes"})
    config = {
        "kubernetes_host": plane.url,
        "kubernetes_ca_cert": plane.certificate,
        "token_reviewer_jwt": plane.kubectl("create", "token", "reviewer").stdout.strip(),
        "disable_local_ca_jwt": True,
    }
    bao.ask("POST", "auth/kubernetes/config", config)
    rules = f"""
        path "transit/keys/{key}" {{ capabilities = ["read"] }}
        path "transit/sign/{key}/*" {{ capabilities = ["update"] }}
    """
    bao.ask("PUT", f"sys/policies/acl/{key}", {"policy": rules})
    role = {
        "bound_service_account_names": "plimsoll-seal",
        "bound_service_account_namespaces": "default",
        "token_policies": [key],
    }
    bao.ask("POST", f"auth/kubernetes/role/{key}", role)


def test_objects_that_make_a_cluster_use_a_sigstore(plane_inside, tmp_path):
    """The issuer has a name that only pods resolve, as in most clusters."""

    def kubectl(*arguments):
        return plane_inside.kubectl(*arguments).stdout

    with cluster_sigstore(kubectl) as sigstore:
        assert sigstore.issuer == "https://kubernetes.default.svc.cluster.local"
        config_map = sigstore.config_map("default")
        policy = {
            "apiVersion": "plimsoll.dev/v1alpha1",
            "kind": "ClusterImagePolicy",
            "metadata": {"name": "keyless"},
            "spec": {"images": [{"glob": "**"}], "authorities": [sigstore.authority("default")]},
        }
        build = {
            "apiVersion": "plimsoll.dev/v1alpha1",
            "kind": "ImageBuild",
            "metadata": {"name": "app", "namespace": "default"},
            "spec": {
                "image": {"contents": {"packages": ["a"]}},
                "output": {"repository": "registry.example/app"},
                "signing": sigstore.signing,
            },
        }
        for body in (config_map, sigstore.trust_root(), policy, build):
            plane_inside.kubectl("apply", "-f", "-", stdin=json.dumps(body))
        for name, text in config_map["data"].items():
            (tmp_path / name).write_text(text)
        (tmp_path / "token").write_text(token(plane_inside))
        with crane_registry() as registry:
            steps = Steps(tmp_path, registry.host)
            sealed = steps.step("seal", *steps.arguments, "--keyless", tmp_path)
            image = f"{steps.image}@{sealed['digest']}"
            root = ("--trusted-root", sigstore.servers.trusted_root, "--insecure-ignore-sct")
            who = ("--identity", sigstore.subject("default"), "--issuer", sigstore.issuer)
            run(PLIMSOLL, "verify", image, *root, *who)

            def judged(body, status):
                # What the policy names is given beside it.
                for one in body["spec"]["authorities"]:
                    one["keyless"].pop("trustRootRef", None)
                (tmp_path / "policy.json").write_text(json.dumps(body))
                command = (PLIMSOLL, "policy", "test", "--policy", tmp_path / "policy.json")
                trust = ("--trust-root", sigstore.servers.trusted_root)
                run(*command, *trust, "--image", image, status=status)

            judged(policy, 0)
            policy["spec"]["authorities"] = [sigstore.authority("other-namespace")]
            judged(policy, 1)


@pytest.fixture
def plane_inside(tmp_path_factory):
    with control_plane(tmp_path_factory.mktemp("inside")) as plane:
        plane.kubectl("apply", "-f", str(ROOT / "crds"))
        for kind in ("imagebuilds", "trustroots", "clusterimagepolicies"):
            crd = f"crd/{kind}.plimsoll.dev"
            plane.kubectl("wait", "--for=condition=Established", crd, "--timeout=30s")
        body = json.dumps(service_account("default", "plimsoll-seal"))
        plane.kubectl("apply", "-f", "-", stdin=body)
        yield plane
