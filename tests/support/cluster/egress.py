"""A CNI plugin that makes NetworkPolicies against egress hold, from a pod's first packet on.

No network plugin that enforces NetworkPolicy is to be had everywhere, so this one does what the
cluster's tests need: it runs behind ``bridge``, asks the API server for the policies that select
the new pod, and puts packet filter rules into the pod's own network namespace before any of its
containers starts. Containers cannot change them, as they lack ``NET_ADMIN``.

Only egress, and as things were when the pod started. Only rules that name address blocks, or no
peers, open anything: other peers stay closed.
Specification: CNI 1.0.0, "Execution Protocol"; NetworkPolicy ``networking.k8s.io/v1``.

Environment: what the specification says. Beside this file lie ``address`` (of the API server),
``ca.crt``, ``admin.crt`` and ``admin.key``, as links.
"""

from __future__ import annotations

import http.client
import json
import os
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

BESIDE = Path(__file__).parent
#: Code of an error that is this plugin's own.
FAILED = 100


def rules(pod: dict[str, Any], policies: list[dict[str, Any]]) -> list[list[str]]:
    """Arguments of iptables, in order; none for a pod that no policy on egress selects. Pure."""
    labels = pod["metadata"].get("labels") or {}
    mine = [
        policy["spec"]
        for policy in policies
        if "Egress" in policy["spec"].get("policyTypes", [])
        and _selects(policy["spec"].get("podSelector") or {}, labels)
    ]
    if not mine:
        return []
    found = [["-o", "lo", "-j", "ACCEPT"]]
    found.append(["-m", "conntrack", "--ctstate", "ESTABLISHED,RELATED", "-j", "ACCEPT"])
    for number, (peer, ports) in enumerate(_allowed(mine)):
        chain = f"PLIMSOLL-{number}"
        found.append(["-d", peer["cidr"], *ports, "-j", chain])
        away = peer.get("except") or []
        found += [[f"+{chain}", "-d", block, "-j", "RETURN"] for block in away]
        found.append([f"+{chain}", "-j", "ACCEPT"])
    return [*found, ["-j", "DROP"]]


def _allowed(specs: list[dict[str, Any]]) -> list[tuple[dict[str, Any], list[str]]]:
    found = []
    for rule in (rule for spec in specs for rule in spec.get("egress") or []):
        ports: list[list[str]] = [[]]
        if rule.get("ports"):
            ports = [_port(port) for port in rule["ports"] if isinstance(port.get("port"), int)]
        for peer in rule.get("to") or [{"ipBlock": {"cidr": "0.0.0.0/0"}}]:
            block = peer.get("ipBlock", {"cidr": ":"})
            if ":" not in block["cidr"]:
                found += [(block, words) for words in ports]
    return found


def _port(port: dict[str, Any]) -> list[str]:
    last = f":{port['endPort']}" if "endPort" in port else ""
    return ["-p", port.get("protocol", "TCP").lower(), "--dport", f"{port['port']}{last}"]


def _selects(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    wanted = selector.get("matchLabels") or {}
    if any(labels.get(name) != value for name, value in wanted.items()):
        return False
    for each in selector.get("matchExpressions") or []:
        has, values = each["key"] in labels, each.get("values") or []
        holds = {
            "Exists": has,
            "DoesNotExist": not has,
            "In": has and labels[each["key"]] in values,
            "NotIn": not has or labels[each["key"]] not in values,
        }[each["operator"]]
        if not holds:
            return False
    return True


def _get(path: str) -> dict[str, Any]:
    tls = ssl.create_default_context(cafile=str(BESIDE / "ca.crt"))
    tls.load_cert_chain(BESIDE / "admin.crt", BESIDE / "admin.key")
    address = (BESIDE / "address").read_text()
    connection = http.client.HTTPSConnection(address, 6443, timeout=10, context=tls)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise OSError(f"GET {path}: {answer.status}")
        found: dict[str, Any] = json.loads(body)
        return found
    finally:
        connection.close()


def _apply(namespace: str, found: list[list[str]]) -> None:
    for program in ("iptables", "ip6tables"):
        made: set[str] = set()
        lines = ["*filter"]
        for rule in found:
            chain, words = ("OUTPUT", rule)
            if rule[0].startswith("+"):
                chain, words = rule[0][1:], rule[1:]
            for name in (chain, rule[-1]):
                if name.startswith("PLIMSOLL-") and name not in made:
                    made.add(name)
                    lines.append(f":{name} - [0:0]")
            if program == "iptables" or "." not in " ".join(words):
                lines.append(f"-A {chain} {' '.join(words)}")
        text = "\n".join([*lines, "COMMIT", ""])
        argv = ["nsenter", f"--net={namespace}", f"{program}-restore", "--wait"]
        subprocess.run(argv, input=text.encode(), check=True, capture_output=True)


def add(configuration: dict[str, Any]) -> dict[str, Any]:
    """Confine a new pod; the result of the plugin before this one."""
    named = dict(item.split("=", 1) for item in os.environ.get("CNI_ARGS", "").split(";") if item)
    namespace, name = named["K8S_POD_NAMESPACE"], named["K8S_POD_NAME"]
    pod = _get(f"/api/v1/namespaces/{namespace}/pods/{name}")
    there = _get(f"/apis/networking.k8s.io/v1/namespaces/{namespace}/networkpolicies")
    if found := rules(pod, there["items"]):
        _apply(os.environ["CNI_NETNS"], found)
    result: dict[str, Any] = configuration["prevResult"]
    return result


def main() -> int:
    """One call by the container runtime."""
    command = os.environ.get("CNI_COMMAND", "")
    if command == "VERSION":
        print(json.dumps({"cniVersion": "1.0.0", "supportedVersions": ["0.4.0", "1.0.0"]}))
        return 0
    configuration = json.load(sys.stdin)
    try:
        if command == "ADD":
            print(json.dumps(add(configuration)))
    except (OSError, KeyError, ValueError, subprocess.SubprocessError) as error:
        text = f"the policies on this pod's egress cannot be made to hold: {error!r}"
        version = configuration.get("cniVersion", "1.0.0")
        print(json.dumps({"cniVersion": version, "code": FAILED, "msg": text}))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
