from __future__ import annotations

from dataclasses import replace

import pytest

from plimsoll.api.predicates import CYCLONEDX, SLSA_V02, SLSA_V1, SPDX
from plimsoll.signing.results import (
    Identity,
    Rejection,
    Verdict,
    VerifiedAttestation,
    VerifiedSignature,
)
from plimsoll.webhook.evaluate import PolicyVerdict, combine, evaluate
from plimsoll.webhook.policies import CompiledAuthority, CompiledPolicy

_DIGEST = f"sha256:{'1' * 64}"
_WHO = Identity(kind="key", id="f")


def _policy(*authorities, require=(), enforce=True, fault=""):
    return CompiledPolicy(
        name="p",
        group="plimsoll.dev",
        enforce=enforce,
        globs=(),
        targets=(),
        authorities=authorities or (CompiledAuthority("ci"),),
        require=require,
        fingerprint="",
        fault=fault,
    )


def _proven(*types, signed=0, rejected=(), predicate=None):
    return Verdict(
        digest=_DIGEST,
        signatures=(VerifiedSignature(identity=_WHO, digest=_DIGEST),) * signed,
        attestations=tuple(
            VerifiedAttestation(
                identity=_WHO,
                digest=_DIGEST,
                predicate_type=kind,
                predicate={"x": 1} if predicate is None else predicate,
            )
            for kind in types
        ),
        rejections=tuple(Rejection(reason, f"s{n}") for n, reason in enumerate(rejected)),
    )


_CI = CompiledAuthority("ci")
_OPS = CompiledAuthority("ops")
_BOM = CompiledAuthority("bom", attestations=(("sbom", SPDX),))
_TWO = CompiledAuthority("two", attestations=(("sbom", SPDX), ("slsa", SLSA_V1)))
_PASS = CompiledAuthority("yes", static="pass")
_FAIL = CompiledAuthority("no", static="fail", message="not in this cluster")


@pytest.mark.parametrize(
    ("policy", "proven", "reason"),
    [
        (_policy(_CI), {"ci": _proven(signed=1)}, ""),
        (_policy(_CI), {"ci": _proven()}, 'no signature by key "ci" (found none)'),
        (_policy(_CI), {}, 'no signature by key "ci" (found none)'),
        # An attestation is no signature, a signature no attestation.
        (_policy(_CI), {"ci": _proven(SPDX)}, 'no signature by key "ci" (found 1 other)'),
        (_policy(_BOM), {"bom": _proven(signed=1)}, f'no attestation "sbom" ({SPDX}) by key "bom"'),
        (_policy(_BOM), {"bom": _proven(SPDX)}, ""),
        # Another type does not satisfy the wanted one (CVE-2022-35929, CVE-2022-35930).
        (_policy(_BOM), {"bom": _proven(CYCLONEDX, SLSA_V1)}, f'no attestation "sbom" ({SPDX})'),
        (_policy(_TWO), {"two": _proven(SPDX)}, f'no attestation "slsa" ({SLSA_V1}) by key "two"'),
        (_policy(_TWO), {"two": _proven(SPDX, SLSA_V1)}, ""),
        # Any authority is enough, but each must be satisfied by its own evidence.
        (_policy(_CI, _OPS), {"ci": _proven(), "ops": _proven(signed=1)}, ""),
        (
            _policy(_CI, _OPS),
            {"ci": _proven(), "ops": _proven()},
            'no signature by any key of "ci", "ops" (found none)',
        ),
        (_policy(_TWO, _CI), {"two": _proven(SPDX), "ci": _proven(SLSA_V1)}, "no signature by key"),
        (_policy(_CI), {"ops": _proven(signed=1)}, 'no signature by key "ci" (found none)'),
        # Fixed answers.
        (_policy(_PASS), {}, ""),
        (_policy(_FAIL), {}, "not in this cluster"),
        (_policy(replace(_FAIL, message="")), {}, "it refuses such images"),
        (_policy(_FAIL, _PASS), {}, ""),
        (_policy(_FAIL, _CI), {"ci": _proven(signed=1)}, ""),
        # What is found and proves nothing is told.
        (
            _policy(_CI),
            {"ci": _proven(rejected=["by another key", "by another key", "for another image"])},
            "(found 3: by another key; for another image)",
        ),
        # require
        (_policy(_CI, require=("signature",)), {"ci": _proven(signed=1)}, ""),
        (_policy(_CI, require=("sbom",)), {"ci": _proven(signed=1)}, 'no SBOM by key "ci"'),
        (_policy(_CI, require=("sbom",)), {"ci": _proven(SPDX, signed=1)}, ""),
        (_policy(_CI, require=("sbom",)), {"ci": _proven(CYCLONEDX, signed=1)}, ""),
        (_policy(_CI, require=("sbom",)), {"ci": _proven(f"{SPDX}/v2.3", signed=1)}, ""),
        (_policy(_CI, require=("sbom",)), {"ci": _proven(f"{SPDX}2", signed=1)}, "no SBOM"),
        (_policy(_CI, require=("sbom",)), {"ci": _proven(SLSA_V1, signed=1)}, "no SBOM"),
        (_policy(_CI, require=("sbom",)), {"ci": _proven(SPDX)}, "no signature"),
        (
            _policy(_CI, require=("sbom",)),
            {"ci": _proven(SPDX, signed=1, predicate={})},
            "no SBOM",
        ),
        (
            _policy(_CI, require=("sbom",)),
            {"ci": _proven(SPDX, signed=1, predicate="text")},
            "no SBOM",
        ),
        (_policy(_CI, require=("provenance",)), {"ci": _proven(SLSA_V1, signed=1)}, ""),
        (_policy(_CI, require=("provenance",)), {"ci": _proven(SLSA_V02, signed=1)}, ""),
        (_policy(_CI, require=("provenance",)), {"ci": _proven(SPDX, signed=1)}, "no provenance"),
        (_policy(_BOM, require=("signature",)), {"bom": _proven(SPDX)}, "no signature by key"),
        (_policy(_BOM, require=("signature",)), {"bom": _proven(SPDX, signed=1)}, ""),
        # A fixed pass does not make up for what is required.
        (_policy(_PASS, _CI, require=("sbom",)), {"ci": _proven()}, 'no SBOM by key "ci"'),
        # A policy that cannot be honoured passes nothing.
        (_policy(_CI, fault="keyless"), {"ci": _proven(signed=1)}, "cannot be honoured: keyless"),
        (_policy(_PASS, fault="rego"), {}, "cannot be honoured: rego"),
    ],
)
def test_a_policy_passes_by_proven_evidence_only(policy, proven, reason):
    verdict = evaluate(policy, proven)
    assert verdict.passed == (not reason)
    assert reason in verdict.reason
    assert "\n" not in verdict.reason


def _said(name, *, passed, enforce):
    return PolicyVerdict(name, "plimsoll.dev", enforce, passed, "" if passed else f"{name} fails")


_OK = _said("ok", passed=True, enforce=True)
_BAD = _said("bad", passed=False, enforce=True)
_MILD = _said("mild", passed=False, enforce=False)


@pytest.mark.parametrize(
    ("verdicts", "refusals", "warnings"),
    [
        ([_OK], 0, 0),
        ([_OK, _BAD], 1, 0),
        ([_BAD, _OK], 1, 0),
        ([_MILD], 0, 1),
        ([_MILD, _OK], 0, 1),
        # A failing warn policy never softens an enforcing one, whatever the order.
        ([_MILD, _BAD], 1, 1),
        ([_BAD, _MILD], 1, 1),
        ([_BAD, _MILD, _BAD, _OK], 2, 1),
    ],
)
def test_every_policy_must_pass(verdicts, refusals, warnings):
    verdict = combine("img", verdicts, "allow")
    assert (len(verdict.refusals), len(verdict.warnings)) == (refusals, warnings)
    assert verdict.allowed == (refusals == 0)


@pytest.mark.parametrize(
    ("no_match", "is_pod", "refusals", "warnings"),
    [
        ("deny", True, 1, 0),
        ("warn", True, 0, 1),
        ("allow", True, 0, 0),
        ("deny", False, 0, 1),
        ("warn", False, 0, 1),
        ("allow", False, 0, 0),
    ],
)
def test_an_image_without_a_policy(no_match, is_pod, refusals, warnings):
    verdict = combine("img", [], no_match, is_pod=is_pod)
    assert (len(verdict.refusals), len(verdict.warnings)) == (refusals, warnings)
    assert all("img matches no policy" in line for line in (*verdict.refusals, *verdict.warnings))


def test_a_policy_that_does_not_bind_an_object_foretells():
    verdict = combine("img", [_BAD], "deny", binding=lambda _: False, is_pod=False)
    assert verdict.allowed
    assert verdict.warnings == ('image img will be refused by policy "bad": bad fails',)


def test_a_refusal_is_one_line_to_act_on():
    (line,) = combine("img", [_BAD], "deny").refusals
    assert line == (
        'image img refused by policy "bad": bad fails; see: kubectl get clusterimagepolicy bad '
        "-o yaml | plimsoll policy test --policy - --image img"
    )
    other = replace(_BAD, group="policy.sigstore.dev")
    (line,) = combine("img", [other], "deny").refusals
    assert "kubectl get clusterimagepolicy.policy.sigstore.dev bad" in line
