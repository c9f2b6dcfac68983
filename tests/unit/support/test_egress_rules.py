"""What the test cluster makes of NetworkPolicies against egress."""

from __future__ import annotations

import pytest

from cluster.egress import rules

POD = {"metadata": {"name": "p", "labels": {"step": "build", "repo": "r"}}}


def policy(egress, selector=None, types=("Egress",)):
    spec = {"podSelector": selector or {}, "policyTypes": list(types), "egress": egress}
    return {"metadata": {"name": "n"}, "spec": spec}


def words(*policies):
    return [" ".join(rule) for rule in rules(POD, list(policies))]


@pytest.mark.parametrize(
    "selector",
    [
        {"matchLabels": {"step": "publish"}},
        {"matchExpressions": [{"key": "step", "operator": "NotIn", "values": ["build"]}]},
        {"matchExpressions": [{"key": "repo", "operator": "DoesNotExist"}]},
    ],
)
def test_pods_that_no_policy_selects_are_left_alone(selector):
    assert words(policy([], selector)) == []
    assert words(policy([], types=("Ingress",))) == []


@pytest.mark.parametrize(
    "selector",
    [
        {},
        {"matchLabels": {"step": "build", "repo": "r"}},
        {"matchExpressions": [{"key": "step", "operator": "In", "values": ["build", "test"]}]},
        {"matchExpressions": [{"key": "repo", "operator": "Exists"}]},
    ],
)
def test_without_any_rule_nothing_new_leaves(selector):
    assert words(policy([], selector)) == [
        "-o lo -j ACCEPT",
        "-m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT",
        "-j DROP",
    ]


def test_address_blocks_are_opened_but_for_their_exceptions():
    block = {"cidr": "0.0.0.0/0", "except": ["10.0.0.0/8", "169.254.0.0/16"]}
    open_to = {"to": [{"ipBlock": block}], "ports": [{"protocol": "TCP", "port": 443}]}
    assert words(policy([open_to]))[2:] == [
        "-d 0.0.0.0/0 -p tcp --dport 443 -j PLIMSOLL-0",
        "+PLIMSOLL-0 -d 10.0.0.0/8 -j RETURN",
        "+PLIMSOLL-0 -d 169.254.0.0/16 -j RETURN",
        "+PLIMSOLL-0 -j ACCEPT",
        "-j DROP",
    ]


@pytest.mark.parametrize(
    "rule",
    [
        {"to": [{"podSelector": {}}]},
        {"to": [{"ipBlock": {"cidr": "::/0"}}]},
        {"ports": [{"port": "https"}]},
    ],
)
def test_what_is_not_understood_stays_closed(rule):
    assert words(policy([rule])) == words(policy([]))
