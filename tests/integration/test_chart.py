"""The chart as helm renders it, and as a real API server takes it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import yaml

from apiserver import control_plane
from gotools import tool

pytestmark = pytest.mark.integration

CHART = Path(__file__).resolve().parents[2] / "helm/plimsoll"
DIGEST = "sha256:" + "ab" * 32


def helm(*args, check=True):
    return subprocess.run(
        [tool("helm"), *args], capture_output=True, text=True, check=check, timeout=60
    )


def render(*settings, check=True):
    sets = [word for each in settings for word in ("--set", each)]
    return helm(
        "template", "plimsoll", CHART, "-n", "plimsoll-system", "--kube-version", "1.34.4",
        "--set", f"image.digest={DIGEST}", *sets, check=check,
    )  # fmt: skip


def objects(*settings):
    return [each for each in yaml.safe_load_all(render(*settings).stdout) if each]


def of_kind(kind, found):
    return {each["metadata"]["name"]: each for each in found if each["kind"] == kind}


def test_lint_has_nothing_to_say():
    said = helm("lint", "--strict", CHART).stdout
    assert "0 chart(s) failed" in said


def test_rendering_twice_gives_the_same_bytes():
    assert render().stdout == render().stdout


def test_every_pod_is_confined():
    deployments = of_kind("Deployment", objects())
    assert set(deployments) == {"plimsoll-operator", "plimsoll-webhook"}
    for each in deployments.values():
        pod = each["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["enableServiceLinks"] is False
        for container in pod["containers"]:
            assert container["image"].endswith(f"@{DIGEST}")
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }


def test_nothing_rendered_drifts():
    found = objects()
    assert not of_kind("Secret", found)
    for hook in of_kind("ValidatingWebhookConfiguration", found)["plimsoll-webhook"]["webhooks"]:
        assert "caBundle" not in hook["clientConfig"], "an empty one is a difference for ever"
        assert hook["failurePolicy"] == "Fail"
        assert {"matchPolicy", "timeoutSeconds", "sideEffects"} <= set(hook)
        exempt = next(
            each["values"]
            for each in hook["namespaceSelector"]["matchExpressions"]
            if each["key"] == "kubernetes.io/metadata.name"
        )
        assert {"plimsoll-system", "kube-system"} <= set(exempt)


def test_the_operator_reads_no_secret():
    role = of_kind("ClusterRole", objects())["plimsoll-operator"]
    verbs = {v for r in role["rules"] if "secrets" in r["resources"] for v in r["verbs"]}
    assert verbs == {"create"}, "it makes Secrets of signing keys"
    assert "*" not in {w for r in role["rules"] for w in (*r["resources"], *r["verbs"])}


def test_the_webhook_reads_secrets_of_its_own_namespace_only():
    role = of_kind("ClusterRole", objects())["plimsoll-webhook"]
    assert "secrets" not in {name for rule in role["rules"] for name in rule["resources"]}
    role = of_kind("ClusterRole", objects("webhook.usePodPullSecrets=true"))["plimsoll-webhook"]
    assert {"apiGroups": [""], "resources": ["serviceaccounts", "secrets"], "verbs": ["get"]} in (
        role["rules"]
    )


def test_an_operator_of_some_namespaces_has_rights_there_only():
    found = objects("operator.namespaces={a,b}")
    assert "plimsoll-operator" not in of_kind("ClusterRoleBinding", found)
    bound = {
        each["metadata"]["namespace"]
        for each in found
        if each["kind"] == "RoleBinding" and each["metadata"]["name"] == "plimsoll-operator"
    }
    assert bound == {"a", "b"}


def test_nobody_changes_pods_unless_asked_to():
    assert not of_kind("MutatingWebhookConfiguration", objects())
    found = objects("webhook.pinDigests.enabled=true")
    checking = of_kind("ValidatingWebhookConfiguration", found)["plimsoll-webhook"]["webhooks"][0]
    pinning = of_kind("MutatingWebhookConfiguration", found)["plimsoll-webhook"]["webhooks"][0]
    assert pinning["failurePolicy"] == "Fail"
    assert pinning["namespaceSelector"] == checking["namespaceSelector"]
    assert "caBundle" not in pinning["clientConfig"]
    resources = [name for rule in pinning["rules"] for name in rule["resources"]]
    assert resources == ["pods", "pods/ephemeralcontainers"], "never what Git holds"


SERVED = "repositories.serve[0].name=shop"
WHERE = "repositories.serve[0].repository=registry.example/shop/packages"


def test_repositories_are_shown_where_asked_for():
    assert not [name for name in of_kind("Deployment", objects()) if "repository" in name]
    found = objects(
        SERVED,
        WHERE,
        "repositories.serve[0].registrySecret=login",
        "repositories.serve[0].keysConfigMap=keys",
        "insecureRegistries={10.0.0.1:5000}",
    )
    pod = of_kind("Deployment", found)["plimsoll-repository-shop"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["args"][:3] == ["repo", "serve", "registry.example/shop/packages"]
    assert "--insecure-registry=10.0.0.1:5000" in container["args"]
    assert "--key=/etc/plimsoll/keys" in container["args"]
    assert pod["automountServiceAccountToken"] is False
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert {m["name"] for m in container["volumeMounts"]} == {"tmp", "keys", "docker"}
    assert "plimsoll-repository-shop" in of_kind("Service", found)
    assert "plimsoll-repository-shop" in of_kind("NetworkPolicy", found)
    done = render(SERVED, check=False)
    assert "repository shop needs repository" in done.stderr


def test_limits_of_builds_reach_the_operator():
    def env(*settings):
        pod = of_kind("Deployment", objects(*settings))["plimsoll-operator"]["spec"]["template"]
        return {each["name"]: each["value"] for each in pod["spec"]["containers"][0]["env"]}

    assert "PLIMSOLL_MAX_BUILDS" not in env()
    set_ = env("operator.maxBuilds=8", "operator.maxBuildsPerNamespace=2")
    assert set_["PLIMSOLL_MAX_BUILDS"] == "8"
    assert set_["PLIMSOLL_MAX_BUILDS_PER_NAMESPACE"] == "2"


def test_cert_manager_needs_an_issuer():
    done = render("webhook.tls.mode=cert-manager", check=False)
    assert done.returncode != 0
    assert "certManagerIssuer needs a name" in done.stderr


CERT_MANAGER = (
    "webhook.tls.mode=cert-manager",
    "webhook.tls.certManagerIssuer.name=ours",
    "webhook.tls.certManagerIssuer.kind=ClusterIssuer",
    "webhook.pinDigests.enabled=true",
)


def test_cert_manager_makes_the_certificate_and_tells_the_api_server():
    found = objects(*CERT_MANAGER)
    certificate = of_kind("Certificate", found)["plimsoll-webhook"]
    secret = certificate["spec"]["secretName"]
    assert certificate["spec"]["issuerRef"] == {"name": "ours", "kind": "ClusterIssuer"}
    service = of_kind("Service", found)["plimsoll-webhook"]["metadata"]
    assert certificate["spec"]["dnsNames"] == [f"{service['name']}.{service['namespace']}.svc"]
    place = f"{certificate['metadata']['namespace']}/{certificate['metadata']['name']}"
    for kind in ("ValidatingWebhookConfiguration", "MutatingWebhookConfiguration"):
        metadata = of_kind(kind, found)["plimsoll-webhook"]["metadata"]
        assert metadata["annotations"] == {"cert-manager.io/inject-ca-from": place}
    pod = of_kind("Deployment", found)["plimsoll-webhook"]["spec"]["template"]["spec"]
    mounted = {one["name"]: one["mountPath"] for one in pod["containers"][0]["volumeMounts"]}
    volumes = {one["name"]: one for one in pod["volumes"]}
    assert volumes["tls"]["secret"]["secretName"] == secret
    environment = {one["name"]: one.get("value") for one in pod["containers"][0]["env"]}
    assert environment["PLIMSOLL_WEBHOOK_TLS_CERT"] == f"{mounted['tls']}/tls.crt"
    assert environment["PLIMSOLL_WEBHOOK_TLS_KEY"] == f"{mounted['tls']}/tls.key"
    # Then the webhook needs neither to change its configuration nor to write a Secret.
    rules = [
        rule
        for kind in ("ClusterRole", "Role")
        for rule in of_kind(kind, found)["plimsoll-webhook"]["rules"]
    ]
    assert not any("admissionregistration.k8s.io" in rule["apiGroups"] for rule in rules)
    secrets = [verb for rule in rules if "secrets" in rule["resources"] for verb in rule["verbs"]]
    assert secrets == ["get"]


def test_the_webhook_has_no_right_that_is_not_asked_for():
    less = ("webhook.background.enabled=false",)
    rules = of_kind("ClusterRole", objects(*less))["plimsoll-webhook"]["rules"]
    resources = {name for rule in rules for name in rule["resources"]}
    assert not resources & {"pods", "namespaces", "secrets", "policyreports", "reports"}
    more = of_kind("ClusterRole", objects())["plimsoll-webhook"]["rules"]
    changing = {
        name
        for rule in more
        for name in rule["resources"]
        if {"create", "update", "delete", "patch"} & set(rule["verbs"])
    }
    assert {name for name in changing if "/" not in name} == {
        "validatingwebhookconfigurations",
        "policyreports",
        "reports",
    }


def test_namespaces_may_be_guarded_unless_they_opt_out():
    found = objects("webhook.optOut=true")
    hook = of_kind("ValidatingWebhookConfiguration", found)["plimsoll-webhook"]["webhooks"][0]
    assert hook["namespaceSelector"]["matchExpressions"][0] == {
        "key": "policy.plimsoll.dev/exclude",
        "operator": "NotIn",
        "values": ["true"],
    }
    assert of_kind("ValidatingAdmissionPolicy", found)
    pod = of_kind("Deployment", found)["plimsoll-webhook"]["spec"]["template"]["spec"]
    environment = {one["name"]: one.get("value") for one in pod["containers"][0]["env"]}
    selector = environment["PLIMSOLL_WEBHOOK_NAMESPACE_SELECTOR"]
    assert selector == "policy.plimsoll.dev/exclude!=true"
    assert not of_kind("ValidatingAdmissionPolicy", objects("webhook.protectLabels=false"))


def test_crds_are_kept_and_optional():
    crds = of_kind("CustomResourceDefinition", objects())
    assert len(crds) >= 4
    for crd in crds.values():
        assert crd["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    assert not of_kind("CustomResourceDefinition", objects("crds.enabled=false"))


#: As much of cert-manager's as a certificate of ours uses.
CERTIFICATES = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "certificates.cert-manager.io"},
    "spec": {
        "group": "cert-manager.io",
        "scope": "Namespaced",
        "names": {
            "kind": "Certificate",
            "plural": "certificates",
            "singular": "certificate",
            "listKind": "CertificateList",
        },
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": {
                                "type": "object",
                                "required": ["issuerRef", "secretName"],
                                "properties": {
                                    "secretName": {"type": "string"},
                                    "dnsNames": {"type": "array", "items": {"type": "string"}},
                                    "issuerRef": {
                                        "type": "object",
                                        "required": ["name"],
                                        "properties": {
                                            name: {"type": "string"}
                                            for name in ("name", "kind", "group")
                                        },
                                    },
                                    "privateKey": {
                                        "type": "object",
                                        "properties": {
                                            "algorithm": {
                                                "type": "string",
                                                "enum": ["RSA", "ECDSA", "Ed25519"],
                                            },
                                            "rotationPolicy": {
                                                "type": "string",
                                                "enum": ["Never", "Always"],
                                            },
                                        },
                                    },
                                },
                            }
                        },
                    }
                },
            }
        ],
    },
}


def test_a_real_api_server_takes_every_object(tmp_path):
    """Strictly: an unknown field anywhere is an error."""
    with control_plane(tmp_path) as plane:
        plane.kubectl("create", "namespace", "plimsoll-system")
        plane.kubectl("apply", "-f", "-", stdin=json.dumps(CERTIFICATES))
        crd = "crd/certificates.cert-manager.io"
        plane.kubectl("wait", "--for=condition=Established", crd, "--timeout=30s")
        for settings in (
            ("insecureRegistries={10.0.0.1:5000}", "trustedHosts={10.0.0.1}"),
            (*CERT_MANAGER, "webhook.optOut=true", "webhook.alertsSecret=alerts"),
        ):
            text = render(*settings).stdout
            said = plane.kubectl(
                "apply", "--server-side", "--validate=strict", "-f", "-", stdin=text
            ).stdout
            every = len([d for d in yaml.safe_load_all(text) if d])
            assert said.count("serverside-applied") == every
