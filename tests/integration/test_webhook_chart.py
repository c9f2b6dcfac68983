"""What the chart sets up around the webhook, on a real API server."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from plimsoll.signing.privatekey import generate_key
from webhook_world import eventually, policy, running_webhook, webhook_world
from webhooks import key_policy

pytestmark = [pytest.mark.integration, pytest.mark.xdist_group("control-plane")]

GUARD, LEAVE = "policy.plimsoll.dev/include", "policy.plimsoll.dev/exclude"
AS = ("--as=somebody", "--as-group=system:authenticated")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with webhook_world(tmp_path_factory.mktemp("cluster")) as world:
        kubectl = world.plane.kubectl
        verbs = ("--verb=get,list,create,update,patch", "--resource=namespaces,namespaces/status")
        kubectl("create", "clusterrole", "names", *verbs)
        kubectl("create", "clusterrolebinding", "names", "--clusterrole=names", "--user=somebody")
        yield world


def label(world, text, *who, check=False):
    more = ("label", "namespace", "team", text, "--overwrite")
    return world.plane.kubectl(*more, *who, check=check)


@pytest.fixture(params=["opt in", "opt out"])
async def protected(world, request):
    """Whether the cluster is one of opting out; the label that leaves, and the one back."""
    opt_out = request.param == "opt out"
    text = world.chart("webhook-labels", **{"webhook.optOut": str(opt_out).lower()})
    label(world, f"{GUARD}=true", check=True)
    label(world, f"{LEAVE}-", check=True)
    world.plane.kubectl("apply", "-f", "-", stdin=text)
    leave, back = (f"{LEAVE}=true", f"{LEAVE}-") if opt_out else (f"{GUARD}-", f"{GUARD}=true")

    def in_force():
        if label(world, leave, *AS).returncode:
            return True
        label(world, back, check=True)
        return False

    await eventually(in_force, "labels to be protected")
    yield opt_out, leave, back
    world.plane.kubectl("delete", "-f", "-", stdin=text)


async def test_only_who_may_takes_a_namespace_out_of_the_guard(world, protected):
    opt_out, leave, back = protected
    done = label(world, leave, *AS)
    assert done.returncode
    assert 'needs the right to "unguard" namespaces of policy.plimsoll.dev' in done.stderr
    # Other labels are nobody's business.
    label(world, "colour=red", *AS, check=True)
    # The way by the status is closed too.
    body = json.dumps({"metadata": {"labels": {LEAVE: "true"} if opt_out else {GUARD: None}}})
    patch = ("patch", "namespace", "team", "--subresource=status", "--type=merge", "-p", body)
    assert "unguard" in world.plane.kubectl(*patch, *AS, check=False).stderr
    made = {"apiVersion": "v1", "kind": "Namespace"}
    made["metadata"] = {"generateName": "new-", "labels": {LEAVE: "true"}}
    done = world.plane.kubectl("create", "-f", "-", *AS, stdin=json.dumps(made), check=False)
    assert bool(done.returncode) is opt_out, done.stderr
    # Administrators may, and whoever was given the right.
    label(world, leave, check=True)
    label(world, back, *AS, check=True)
    rule = {"apiGroups": ["policy.plimsoll.dev"], "resources": ["namespaces"]}
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole"}
    metadata = {"metadata": {"name": "unguards"}}
    world.apply({**role, **metadata, "rules": [{**rule, "verbs": ["unguard"]}]})
    kubectl = world.plane.kubectl
    kubectl("create", "clusterrolebinding", "un", "--clusterrole=unguards", "--user=somebody")
    try:
        await eventually(lambda: not label(world, leave, *AS).returncode, "the right to count")
    finally:
        kubectl("delete", "clusterrolebinding", "un")
        label(world, back, check=True)


async def test_nothing_drifts_while_the_webhook_runs(world):
    """As Argo CD sees it: what it applied is what is there, whatever the webhook has written."""
    text = world.chart(**{"webhook.pinDigests.enabled": "true"})
    ours = ("--server-side", "--field-manager=argocd-controller", "-f", "-")
    world.plane.kubectl("apply", "--force-conflicts", *ours, stdin=text)
    key = generate_key().public.pem.decode()
    world.apply(policy("watched", key_policy(key, "registry.example/**")))
    settings = replace(world.settings, mutating_configuration="plimsoll-webhook")
    async with running_webhook(world, settings):

        def written():
            kinds = "validatingwebhookconfigurations,mutatingwebhookconfigurations"
            hooks = [h for one in world.plane.get(kinds)["items"] for h in one["webhooks"]]
            status = world.plane.get("clusterimagepolicies.plimsoll.dev", "watched").get("status")
            return status and all(hook["clientConfig"].get("caBundle") for hook in hooks)

        await eventually(written, "the webhook to write what it has to")
        done = world.plane.kubectl("diff", *ours, stdin=text, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        # Synchronising again takes nothing away from the webhook.
        world.plane.kubectl("apply", *ours, stdin=text)
        assert written()
