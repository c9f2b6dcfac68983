"""``require``: every field that restricts has a case that it refuses."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.api.predicates import CYCLONEDX, OPENVEX, SLSA_V02, SLSA_V1, SPDX, VULN
from plimsoll.api.require import Require
from plimsoll.signing.results import (
    Identity,
    Verdict,
    VerifiedAttestation,
    VerifiedSignature,
)
from plimsoll.webhook.evaluate import by_tag, evaluate
from plimsoll.webhook.patterns import like
from plimsoll.webhook.policies import CompiledAuthority, CompiledPolicy
from plimsoll.webhook.sbomrules import license_denied

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
DIGEST = "sha256:" + "1" * 64


def judge(require, *statements, signers=("a",), authorities=("ci",)):
    rules = Require.model_validate(require)
    policy = CompiledPolicy(
        name="p",
        group="plimsoll.dev",
        enforce=True,
        globs=(),
        targets=(),
        authorities=tuple(CompiledAuthority(name) for name in authorities),
        require=rules.wanted,
        fingerprint="",
        rules=rules,
    )
    verdict = Verdict(
        digest=DIGEST,
        signatures=tuple(
            VerifiedSignature(identity=Identity(kind="key", id=who), digest=DIGEST)
            for who in signers
        ),
        attestations=tuple(
            VerifiedAttestation(
                identity=Identity(kind="key", id="a"),
                digest=DIGEST,
                predicate_type=kind,
                predicate=predicate,
            )
            for kind, predicate in statements
        ),
    )
    return evaluate(policy, dict.fromkeys(authorities, verdict), NOW)


def passes(require, *statements, **options):
    verdict = judge(require, *statements, **options)
    assert verdict.passed, verdict.reason


def refuses(text, require, *statements, **options):
    verdict = judge(require, *statements, **options)
    assert not verdict.passed
    assert text in verdict.reason
    assert "\n" not in verdict.reason


# --- signers --------------------------------------------------------------------------------------


def test_signers_are_counted_not_signatures():
    passes({"signers": 2}, signers=("a", "b"))
    refuses("by 1 different signers, not 2", {"signers": 2}, signers=("a", "a", "a"))
    # One signer that two authorities trust is one signer.
    refuses("by 1 different", {"signers": 2}, signers=("a",), authorities=("ci", "ops"))
    refuses("no signature", {"signers": 2}, signers=())


# --- bills of materials ---------------------------------------------------------------------------


def package(name="zlib", version="1.3", licence="Zlib", *, purl=True):
    refs = [{"referenceType": "purl", "referenceLocator": f"pkg:apk/x/{name}@{version}"}]
    return {
        "name": name,
        "versionInfo": version,
        "licenseDeclared": licence,
        "licenseConcluded": "NOASSERTION",
        "externalRefs": refs if purl else [],
    }


def spdx(*packages):
    return SPDX, {"spdxVersion": "SPDX-2.3", "packages": list(packages)}


def cyclonedx(*components):
    return CYCLONEDX, {"bomFormat": "CycloneDX", "components": list(components)}


def component(name="zlib", version="1.3", licence="Zlib", **more):
    return {"name": name, "version": version, "licenses": [{"license": {"id": licence}}], **more}


def test_formats():
    rules = {"sbomRules": {"formats": ["cyclonedx"]}}
    passes(rules, cyclonedx(component()))
    refuses("it is spdx, not cyclonedx", rules, spdx(package()))
    passes(rules, spdx(package()), cyclonedx(component()))
    refuses("no SBOM by key", rules)


@pytest.mark.parametrize(
    ("expression", "denied"),
    [
        ("MIT", False),
        ("AGPL-3.0-only", True),
        ("agpl-3.0-ONLY", True),
        ("MIT AND AGPL-3.0-only", True),
        ("MIT OR AGPL-3.0-only", False),
        ("SSPL-1.0 OR AGPL-3.0-only", True),
        ("(MIT OR AGPL-3.0-only) AND AGPL-3.0-or-later", True),
        ("AGPL-3.0-only WITH Exception-1.0", True),
        ("some free text, AGPL-3.0-only", True),
        ("MIT (AGPL-3.0-only", True),
        ("LicenseRef-own", False),
    ],
)
def test_denied_licences(expression, denied):
    rules = {"sbomRules": {"deniedLicenses": ["AGPL-*", "SSPL-1.0"]}}
    for document in (
        spdx(package(), package("bad", licence=expression)),
        cyclonedx(component("bad", licence=expression)),
    ):
        if denied:
            refuses("a licence is denied: bad (", rules, document)
        else:
            passes(rules, document)


def test_licences_are_found_wherever_a_document_says_them():
    rules = {"sbomRules": {"deniedLicenses": ["BAD"]}}
    concluded = {**package(licence="MIT"), "licenseConcluded": "BAD"}
    nested = component("outer", components=[component("inner", licence="BAD")])
    by_name = {"name": "x", "licenses": [{"license": {"name": "BAD"}}]}
    expression = {"name": "x", "licenses": [{"expression": "MIT AND BAD"}]}
    for document in (spdx(concluded), *(cyclonedx(one) for one in (nested, by_name, expression))):
        refuses("a licence is denied", rules, document)
    # What one document denies, another does not make good.
    refuses("a licence is denied", rules, spdx(concluded), spdx(package()))


@pytest.mark.parametrize(
    ("version", "denied"),
    [
        ("3.0.6", True),
        ("3.0.7", False),
        ("2.9", False),
        ("3.0.0", True),
        ("odd!", True),
        ("", True),
    ],
)
def test_denied_packages(version, denied):
    rules = {"sbomRules": {"deniedPackages": [{"name": "openssl*", "versions": [">=3", "<3.0.7"]}]}}
    for document in (
        spdx(package("openssl-libs", version)),
        cyclonedx(component("openssl", version)),
    ):
        if denied:
            refuses("is denied", rules, document)
        else:
            passes(rules, document)
    every = {"sbomRules": {"deniedPackages": [{"name": "openssl"}]}}
    refuses("package openssl 9 is denied", every, spdx(package("openssl", "9")))
    passes(every, spdx(package("libopenssl", "9")))


def test_completeness():
    rules = {"sbomRules": {"completeness": 60}}
    whole = package()
    passes(rules, spdx(whole, whole, package(purl=False)))
    for part in (
        package(purl=False),
        package(version=""),
        package(licence="NOASSERTION"),
        package(name=""),
    ):
        refuses("1 of 2 packages state", rules, spdx(whole, part))
    refuses("0 of 0 packages", rules, spdx())
    refuses("lists 1 packages, not 2", {"sbomRules": {"minimumPackages": 2}}, spdx(whole))


@pytest.mark.parametrize(
    "document",
    [
        (SPDX, {"@graph": []}),
        (SPDX, {"packages": "x"}),
        (SPDX, {"packages": [1]}),
        (SPDX, {"packages": [{"name": 1}]}),
        (CYCLONEDX, {"components": {}}),
        (CYCLONEDX, {"components": [{"licenses": [{"license": {"id": 5}}]}]}),
    ],
)
def test_what_cannot_be_read_is_no_clean_bill(document):
    refuses("cannot be read", {"sbomRules": {"deniedLicenses": ["X"]}}, document)


def spdx3(*packages, purpose="library"):
    graph = [{"type": "SpdxDocument", "spdxId": "d"}]
    for number, (name, version, licence, url) in enumerate(packages):
        item = {"type": "software_Package", "spdxId": f"p{number}", "name": name}
        item |= {"software_packageVersion": version, "software_primaryPurpose": purpose}
        item |= {"software_packageUrl": url} if url else {}
        graph.append(item)
        if licence is not None:
            relation = {"type": "Relationship", "spdxId": f"r{number}", "from": f"p{number}"}
            graph.append(relation | {"relationshipType": "hasDeclaredLicense", "to": [licence]})
    return f"{SPDX}/v3.0", {"@context": "c", "@graph": graph}


GPL = {
    "type": "simplelicensing_LicenseExpression",
    "spdxId": "l",
    "simplelicensing_licenseExpression": "MIT AND GPL-3.0-only",
}


@pytest.mark.parametrize(
    ("licence", "denied"),
    [
        (GPL, True),
        ("https://spdx.org/licenses/GPL-3.0-only", True),
        ("https://spdx.org/licenses/MIT", False),
        ({"type": "expandedlicensing_CustomLicense", "spdxId": "x", "name": "GPL-3.0-only"}, True),
        ({"type": "expandedlicensing_NoAssertionLicense", "spdxId": "x"}, False),
        (None, False),
    ],
)
def test_licences_of_spdx_3(licence, denied):
    rules = {"sbomRules": {"deniedLicenses": ["GPL-*"]}}
    document = spdx3(("p", "1", licence, "pkg:apk/p@1"))
    if denied:
        refuses("a licence is denied: p (", rules, document)
    else:
        passes(rules, document)


def test_licences_of_spdx_3_by_reference():
    kind, document = spdx3(("p", "1", "l", ""))
    document["@graph"].append(GPL)
    refuses("GPL", {"sbomRules": {"deniedLicenses": ["GPL-*"]}}, (kind, document))


def test_packages_of_spdx_3():
    whole = ("openssl", "3.0.1", "https://spdx.org/licenses/MIT", "pkg:apk/openssl@3.0.1")
    bare = ("p", "", None, "")
    denied = [{"name": "openssl", "versions": [">=3.0", "<3.0.7"]}]
    refuses("package openssl 3.0.1", {"sbomRules": {"deniedPackages": denied}}, spdx3(whole))
    rules = {"sbomRules": {"completeness": 100}}
    passes(rules, spdx3(whole))
    refuses("1 of 2 packages", rules, spdx3(whole, bare))
    refuses("0 of 0", rules, spdx3(whole, purpose="container"))
    refuses("not cyclonedx", {"sbomRules": {"formats": ["cyclonedx"]}}, spdx3(whole))


@pytest.mark.parametrize(
    "graph",
    [
        "x",
        [1],
        [{"type": "SpdxDocument", "spdxId": 5}],
        [{"type": "SpdxDocument"}, {"relationshipType": "hasDeclaredLicense", "to": "x"}],
        [{"type": "SpdxDocument"}, {"relationshipType": "hasDeclaredLicense", "to": [5]}],
        [{"type": "SpdxDocument"}, {"type": "software_Package", "name": 1}],
    ],
)
def test_spdx_3_that_cannot_be_read_is_no_clean_bill(graph):
    document = (f"{SPDX}/v3.0", {"@graph": graph})
    refuses("cannot be read", {"sbomRules": {"deniedLicenses": ["X"]}}, document)


def test_nesting_is_bounded():
    deep = component()
    for _ in range(50):
        deep = component(components=[deep])
    refuses("nested too deeply", {"sbomRules": {"minimumPackages": 1}}, cyclonedx(deep))


# --- provenance -----------------------------------------------------------------------------------

BUILDER = "https://ci.example/builder@v1"


def slsa1(builder=BUILDER, finished="2026-06-01T00:00:00Z", **external):
    return SLSA_V1, {
        "buildDefinition": {
            "externalParameters": external,
            "resolvedDependencies": [{"uri": "git+https://git.example/app@refs/heads/main"}],
        },
        "runDetails": {"builder": {"id": builder}, "metadata": {"finishedOn": finished}},
    }


def slsa02(uri="git+https://git.example/app@refs/heads/main", finished="2026-06-01T00:00:00Z"):
    return SLSA_V02, {
        "builder": {"id": BUILDER},
        "invocation": {"configSource": {"uri": uri}},
        "materials": [{"uri": "git+https://git.example/app@refs/heads/main"}],
        "metadata": {"buildFinishedOn": finished},
    }


def test_builders():
    rules = {"provenanceRules": {"builders": [{"id": "https://ci.example/*"}]}}
    passes(rules, slsa1())
    passes(rules, slsa02())
    refuses("its builder is https://evil.example", rules, slsa1("https://evil.example"))
    refuses("its builder is unknown", rules, slsa1(None))
    refuses("its builder is unknown", rules, (SLSA_V1, {"runDetails": []}))
    refuses("no provenance by key", rules)


def test_levels_are_those_that_builders_are_trusted_to_have():
    builders = [{"id": BUILDER}, {"id": "https://safe.example/b", "level": 3}]
    rules = {"provenanceRules": {"builders": builders, "level": 3}}
    passes(rules, slsa1("https://safe.example/b"))
    refuses("is trusted for level 2, not 3", rules, slsa1())


MAIN = {"source": "git+https://git.example/app@refs/heads/main"}


@pytest.mark.parametrize(
    ("rule", "document", "good"),
    [
        ({"repository": "https://git.example/app"}, slsa02(), True),
        ({"repository": "https://git.example/app"}, slsa1(**MAIN), True),
        ({"repository": "https://git.example/*", "branch": "main"}, slsa1(**MAIN), True),
        ({"repository": "https://git.example/app", "branch": "release"}, slsa1(**MAIN), False),
        ({"repository": "https://git.example/app", "tag": "main"}, slsa1(**MAIN), False),
        ({"repository": "https://git.example/ap"}, slsa1(**MAIN), False),
        (
            {"repository": "https://git.example/app", "tag": "v*"},
            slsa02("git+https://git.example/app@refs/tags/v1"),
            True,
        ),
        (
            {"repository": "https://git.example/app", "branch": "v1"},
            slsa02("git+https://git.example/app@refs/tags/v1"),
            False,
        ),
        (
            {"repository": "https://git.example/app", "branch": "main"},
            slsa1(workflow={"repository": "https://git.example/app", "ref": "refs/heads/main"}),
            True,
        ),
        # A login before the host is no part of the repository's name.
        (
            {"repository": "https://git.example"},
            slsa02("git+https://git.example@evil.example/app"),
            False,
        ),
        # Dependencies are chosen by whoever writes the build.
        ({"repository": "https://git.example/app"}, slsa1(), False),
        ({"repository": "https://git.example/app"}, slsa02("git+https://evil.example/x"), False),
    ],
)
def test_sources(rule, document, good):
    rules = {"provenanceRules": {"sources": [rule]}}
    if good:
        passes(rules, document)
    else:
        refuses("its source is", rules, document)


def test_one_provenance_must_satisfy_everything():
    rules = {
        "provenanceRules": {
            "builders": [{"id": BUILDER}],
            "sources": [{"repository": "https://git.example/app"}],
        }
    }
    other = slsa1("https://evil.example", **MAIN)
    refuses("no provenance is good enough", rules, other, slsa1())
    passes(rules, other, slsa1(**MAIN))


@pytest.mark.parametrize(
    ("finished", "text"),
    [
        ("2026-05-31T13:00:00Z", ""),
        ("2026-05-30T12:00:00Z", "over 24h ago"),
        ("2027-01-01T00:00:00Z", "in the future"),
        (None, "does not say when"),
        ("yesterday", "does not say when"),
        (12345, "does not say when"),
    ],
)
def test_freshness(finished, text):
    for document in (slsa1(finished=finished), slsa02(finished=finished)):
        if text:
            refuses(text, {"freshness": {"maxAge": "24h"}}, document)
        else:
            passes({"freshness": {"maxAge": "24h"}}, document)


# --- vulnerabilities ------------------------------------------------------------------------------

PURL = "pkg:apk/wolfi/zlib@1.3"


def found(name="CVE-2026-1", severity="HIGH", fixed="1.4"):
    return {
        "VulnerabilityID": name,
        "PkgName": "zlib",
        "InstalledVersion": "1.3",
        "FixedVersion": fixed,
        "Severity": severity,
        "PkgIdentifier": {"PURL": PURL},
    }


def report(result, finished="2026-06-01T00:00:00Z"):
    return VULN, {"scanner": {"result": result}, "metadata": {"scanFinishedOn": finished}}


def trivy(*items, **options):
    return report({"Results": [{"Target": "x", "Vulnerabilities": list(items)}]}, **options)


def grype(name="CVE-2026-1", severity="High", state="fixed", related=()):
    match = {
        "vulnerability": {
            "id": name,
            "severity": severity,
            "fix": {"state": state, "versions": []},
        },
        "relatedVulnerabilities": [{"id": one} for one in related],
        "artifact": {"name": "zlib", "version": "1.3", "purl": PURL},
    }
    return report({"matches": [match]})


def vulnerabilities(**rules):
    return {"vulnerabilities": rules}


def test_severities():
    passes(vulnerabilities(), trivy())
    passes(vulnerabilities(), trivy(found(severity="MEDIUM")))
    refuses("vulnerabilities: CVE-2026-1 (high, zlib 1.3)", vulnerabilities(), trivy(found()))
    refuses("CVE-2026-1 (high", vulnerabilities(), grype())
    medium = vulnerabilities(severities=["medium"])
    refuses("(medium", medium, trivy(found(severity="MEDIUM")))
    passes(medium, trivy(found()))
    unknown = vulnerabilities(severities=["unknown"])
    refuses("(unknown", unknown, trivy(found(severity="?")))
    refuses("no vulnerability report by key", vulnerabilities())


def test_only_fixable():
    rules = vulnerabilities(onlyFixable=True)
    passes(rules, trivy(found(fixed="")))
    passes(rules, grype(state="not-fixed"))
    refuses("CVE-2026-1", rules, trivy(found()))
    refuses("CVE-2026-1", rules, grype())
    refuses("CVE-2026-1", vulnerabilities(), trivy(found(fixed="")))


def test_the_age_of_the_report():
    rules = vulnerabilities(maxAge="24h")
    passes(rules, trivy())
    refuses("over 24h old", rules, trivy(finished="2026-05-30T00:00:00Z"))
    refuses("no possible time", rules, trivy(finished="2030-01-01T00:00:00Z"))
    refuses("no possible time", rules, trivy(finished=None))


def test_the_newest_report_counts():
    old = trivy(finished="2026-05-01T00:00:00Z")
    refuses("CVE-2026-1", vulnerabilities(), old, trivy(found()))
    passes(vulnerabilities(), trivy(found(), finished="2026-05-01T00:00:00Z"), trivy())


def test_what_is_ignored_is_ignored_for_a_time():
    def ignoring(name, until):
        return vulnerabilities(ignore=[{"id": name, "reason": "not reachable", "until": until}])

    passes(ignoring("CVE-2026-1", "2026-07-01T00:00:00Z"), trivy(found()))
    passes(ignoring("CVE-2026-1", "2026-07-01T00:00:00Z"), grype("GHSA-1", related=["CVE-2026-1"]))
    refuses("CVE-2026-1", ignoring("CVE-2026-1", "2026-05-01T00:00:00Z"), trivy(found()))
    refuses("CVE-2026-1", ignoring("CVE-2026", "2026-07-01T00:00:00Z"), trivy(found()))


def vex(status="not_affected", name="CVE-2026-1", stamp="2026-05-01T00:00:00Z", **more):
    statement = {"vulnerability": {"name": name}, "status": status, **more}
    return OPENVEX, {"timestamp": stamp, "statements": [statement]}


IMAGE = f"pkg:oci/app@{DIGEST}"


@pytest.mark.parametrize(
    ("documents", "clears"),
    [
        ([vex()], True),
        ([vex("fixed")], True),
        ([vex("affected")], False),
        ([vex("under_investigation")], False),
        ([vex(name="CVE-2026-2")], False),
        ([vex(products=[{"@id": PURL}])], True),
        ([vex(products=[{"@id": "pkg:apk/wolfi/other@1"}])], False),
        ([vex(products=[{"@id": IMAGE}])], True),
        ([vex(products=[{"@id": IMAGE.replace("sha256:", "sha256%3A")}])], True),
        ([vex(products=[{"@id": f"pkg:oci/app@sha256:{'2' * 64}"}])], False),
        ([vex(products=[{"@id": IMAGE, "subcomponents": [{"@id": PURL}]}])], True),
        ([vex(products=[{"@id": IMAGE, "subcomponents": [{"@id": "pkg:apk/x/y@1"}]}])], False),
        ([vex(products=[{"@id": "another image", "subcomponents": [{"@id": PURL}]}])], False),
        # The last word counts, however the registry orders them.
        ([vex(), vex("affected", stamp="2026-05-02T00:00:00Z")], False),
        ([vex("affected", stamp="2026-05-02T00:00:00Z"), vex()], False),
        ([vex(stamp="2030-01-01T00:00:00Z")], False),
        ([vex(stamp="never")], False),
        ([(OPENVEX, {"statements": "x"})], False),
        ([(OPENVEX, {"statements": [1, {"vulnerability": {"aliases": 5}}]})], False),
    ],
)
def test_vex(documents, clears):
    for scanned in (trivy(found()), grype()):
        if clears:
            passes(vulnerabilities(vex=True), scanned, *documents)
        else:
            refuses("CVE-2026-1", vulnerabilities(vex=True), scanned, *documents)
        refuses("CVE-2026-1", vulnerabilities(), scanned, *documents)


@pytest.mark.parametrize(
    "result",
    [
        None,
        {},
        [],
        "clean",
        {"Results": "x"},
        {"Results": [{"Vulnerabilities": {}}]},
        {"Results": [{"Vulnerabilities": [{}]}]},
        {"matches": [{}]},
        {"matches": None},
        {"Results": None},
        {"matches": 1},
    ],
)
def test_a_report_that_is_not_understood_is_no_clean_one(result):
    refuses("cannot be read", vulnerabilities(), report(result))


IN_TOTO = "https://in-toto.io/attestation/vulns/v0.2"


def in_toto(*results, kind=IN_TOTO):
    times = {"scanFinishedOn": "2026-06-01T00:00:00Z"}
    return kind, {"scanner": {"result": list(results)}, "metadata": times}


def listed(score, **notes):
    return {"id": "CVE-2026-1", "severity": [{"method": "m", "score": score}], "annotations": notes}


@pytest.mark.parametrize(
    ("score", "severity"),
    [
        ("critical", "critical"),
        ("9.8", "critical"),
        (7, "high"),
        ("6.9", "medium"),
        ("0.1", "low"),
        ("0", "negligible"),
        ("nan", "unknown"),
        ("", "unknown"),
        (None, "unknown"),
    ],
)
def test_reports_of_in_totos_own_type(score, severity):
    rules = vulnerabilities(severities=[severity])
    refuses(f"CVE-2026-1 ({severity}, p 1", rules, in_toto(listed(score, package="p", version="1")))
    others = [one for one in ("critical", "high", "medium") if one != severity]
    passes(vulnerabilities(severities=others), in_toto(listed(score)))
    passes(rules, in_toto())


def test_the_worst_score_of_a_report_counts():
    both = listed("1.0")
    both["severity"].append({"method": "other", "score": "9.1"})
    refuses("critical", vulnerabilities(), in_toto(both))


def test_fixes_and_aliases_of_in_totos_own_type():
    fixable = vulnerabilities(onlyFixable=True)
    passes(fixable, in_toto(listed("9.8")))
    refuses("CVE-2026-1", fixable, in_toto(listed("9.8", fixed="2")))
    refuses("CVE-2026-1", fixable, in_toto(listed("9.8") | {"annotations": [{"fixed": "2"}]}))
    ignored = [{"id": "GHSA-1", "reason": "r", "until": "2099-01-01T00:00:00Z"}]
    named = in_toto(listed("9.8", aliases=["GHSA-1"]))
    passes(vulnerabilities(ignore=ignored), named)
    refuses("CVE-2026-1", vulnerabilities(), named)


@pytest.mark.parametrize("result", [None, {}, "x", [1], [{}], [{"id": "a", "severity": 1}]])
def test_a_report_of_in_totos_own_type_that_is_not_understood(result):
    kind, predicate = in_toto()
    predicate["scanner"]["result"] = result
    refuses("cannot be read", vulnerabilities(), (kind, predicate))


# --- digest ---------------------------------------------------------------------------------------


def test_a_tag_is_refused_where_a_digest_is_wanted():
    policy = CompiledPolicy("p", "plimsoll.dev", *(True, (), (), (), (), ""))
    assert "by digest" in by_tag(policy).reason
    assert not by_tag(policy).passed


# --- texts of strangers ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "text", "same"),
    [
        ("a", "a", True),
        ("a", "ab", False),
        ("*", "", True),
        ("a*", "abc", True),
        ("*c", "abc", True),
        ("a*a", "a", False),
        ("a*b*c", "a-b-c", True),
        ("a*b*c", "a-c-b", False),
        ("a**c", "ac", True),
    ],
)
def test_patterns(pattern, text, same):
    assert like(pattern, text) is same


def test_patterns_take_linear_time():
    start = datetime.now(UTC)
    assert not like("*a" * 500 + "b", "a" * 100_000)
    assert datetime.now(UTC) - start < timedelta(seconds=1)


_NAMES = (
    *("packages", "components", "name", "licenses", "license", "expression", "externalRefs"),
    *("scanner", "result", "Results", "matches", "metadata", "scanFinishedOn", "timestamp"),
    *("statements", "products", "vulnerability", "builder", "id", "runDetails"),
    *("buildDefinition", "externalParameters"),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(_NAMES),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(JSON)
def test_no_predicate_makes_it_raise(predicate):
    everything = {
        "signers": 1,
        "sbomRules": {"deniedLicenses": ["A*"], "completeness": 50},
        "provenanceRules": {"builders": [{"id": "b"}], "sources": [{"repository": "r"}]},
        "freshness": {"maxAge": "1h"},
        "vulnerabilities": {"vex": True, "maxAge": "1h"},
    }
    kinds = (SPDX, CYCLONEDX, SLSA_V02, SLSA_V1, VULN, OPENVEX)
    verdict = judge(everything, *((kind, predicate) for kind in kinds))
    assert not verdict.passed
    json.dumps(verdict.reason)


@given(st.text(max_size=40))
def test_no_licence_makes_it_raise(expression):
    license_denied(expression, ["gpl-*"])
