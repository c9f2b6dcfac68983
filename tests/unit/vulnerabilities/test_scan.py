from __future__ import annotations

import io
import json
import zipfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.api.require import Ignored as PolicyIgnored
from plimsoll.api.require import VulnerabilityRules
from plimsoll.builder.vulnerabilities.inventory import component_of, document_components
from plimsoll.builder.vulnerabilities.model import (
    Component,
    Gate,
    Ignored,
    VulnerabilityDataError,
    VulnerableError,
)
from plimsoll.builder.vulnerabilities.osv import Wanted, matches, severity_of
from plimsoll.builder.vulnerabilities.ranges import affected, python_key, semver_key
from plimsoll.builder.vulnerabilities.report import (
    IN_TOTO_VULNS,
    as_json,
    cosign_vuln,
    in_toto,
    text,
)
from plimsoll.builder.vulnerabilities.scan import Judgement, Subject, scan
from plimsoll.builder.vulnerabilities.secdb import SecurityDatabase
from plimsoll.builder.vulnerabilities.sources import Feed
from plimsoll.builder.vulnerabilities.vex import parse_vex
from plimsoll.signing.results import VerifiedAttestation
from plimsoll.signing.statement import VULN
from plimsoll.webhook.vulnrules import vulnerability_failures
from shared_data import shared

NOW = datetime(2026, 6, 1, tzinfo=UTC)
DIGEST = "sha256:" + "a" * 64


def apk(name, version, origin="", distro="wolfi"):
    purl = f"pkg:apk/{distro}/{name}@{version}?arch=x86_64"
    return Component("apk", name, version, purl, origin, distro)


def feed(*records, location="db.json"):
    return Feed(location, json.dumps(list(records)).encode(), "sha256:0")


def secdb(**packages):
    return {"packages": [{"pkg": {"name": n, "secfixes": f}} for n, f in packages.items()]}


def run(components, *feeds, judgement=None):
    subject = Subject("image", components, DIGEST)
    return scan(subject, feeds, judgement or Judgement(), NOW)


def ids(report):
    return [one.id for one in report.found]


def test_the_hand_made_database_says_what_is_expected():
    folder = shared("secdb")
    expected = json.loads((folder / "expected.json").read_text())["hand_made"]
    for item in expected:
        database = SecurityDatabase(json.loads((folder / item["file"]).read_text()), "db")
        for row in item["expect"]:
            component = apk(row["package"], row["installed"])
            found = {one.id for one in database.look_up(component)}
            assert found == set(row["vulnerable_to"]), row


def test_a_real_database_is_asked_by_origin():
    data = (shared("secdb") / "security.json").read_bytes()
    report = run(
        [apk("libcrypto3", "3.0.7-r0", "openssl"), apk("openssl-doc", "3.0.7-r0")],
        Feed("db", data, "sha256:1"),
    )
    assert "CVE-2022-3996" in ids(report)
    assert "CVE-2022-3358" not in ids(report)
    assert "CVE-2023-0466" not in ids(report), "version 0: never affected"
    assert {one.component.name for one in report.found} == {"libcrypto3"}
    assert {one.fixed for one in report.found if one.id == "CVE-2022-3996"} == {"3.0.7-r1"}


def test_what_is_fixed_in_two_branches_is_fixed():
    database = secdb(a={"1.2-r1": ["CVE-1"], "2.0-r3": ["CVE-1"], "3-r0": ["CVE-2"]})
    report = run([apk("a", "1.2-r4")], feed(database))
    assert [(one.id, one.fixed) for one in report.found] == [("CVE-2", "3-r0")]
    report = run([apk("a", "1.1-r0")], feed(database))
    assert [(one.id, one.fixed) for one in report.found] == [
        ("CVE-1", "1.2-r1"),
        ("CVE-2", "3-r0"),
    ]


@pytest.mark.parametrize(
    "document",
    [
        {"packages": {}},
        {"packages": [{}]},
        {"packages": [{"pkg": {"name": "a", "secfixes": []}}]},
        {"packages": [{"pkg": {"name": "a", "secfixes": {"1": "CVE-1"}}}]},
        {"packages": [{"pkg": {"name": "a", "secfixes": {"not a version": ["CVE-1"]}}}]},
        {"something": "else"},
        [1],
    ],
)
def test_what_is_no_database_is_no_clean_report(document):
    with pytest.raises(VulnerabilityDataError, match="db"):
        run([apk("a", "1")], Feed("db", json.dumps(document).encode(), ""))


def test_broken_feeds_are_named():
    for data in (b"{", b"PK\x03\x04broken", b'{"packages": [' * 2000):
        with pytest.raises(VulnerabilityDataError, match="db"):
            run([apk("a", "1")], Feed("db", data, ""))


def osv(name="GHSA-x", ecosystem="PyPI", package="Flask_Thing", events=(), **more):
    return {
        "id": name,
        "modified": "2026-05-01T00:00:00Z",
        "affected": [
            {
                "package": {"ecosystem": ecosystem, "name": package},
                "ranges": [{"type": "ECOSYSTEM", "events": list(events)}],
            }
        ],
        **more,
    }


@pytest.mark.parametrize(
    ("type_", "version", "events", "hit", "fixed"),
    [
        ("apk", "1.2-r0", [{"introduced": "0"}, {"fixed": "1.2-r1"}], True, "1.2-r1"),
        ("apk", "1.2-r1", [{"introduced": "0"}, {"fixed": "1.2-r1"}], False, ""),
        ("pypi", "2.0rc1", [{"introduced": "1"}, {"fixed": "2.0"}], True, "2.0"),
        ("golang", "v1.10.0", [{"introduced": "1.9.0"}], True, ""),
        ("golang", "v1.8.0", [{"introduced": "1.9.0"}], False, ""),
        ("npm", "2.0.0-rc.2", [{"introduced": "2.0.0-rc.1"}, {"fixed": "2.0.0"}], True, "2.0.0"),
        ("npm", "1.5.0", [{"introduced": "0"}, {"last_affected": "1.5.0"}], True, ""),
        ("npm", "1.5.1", [{"introduced": "0"}, {"last_affected": "1.5.0"}], False, ""),
        (
            "npm",
            "2.1.0",
            [{"introduced": "0"}, {"fixed": "1.1.0"}, {"introduced": "2.0.0"}, {"fixed": "2.2.0"}],
            True,
            "2.2.0",
        ),
        ("npm", "1.2.0", [{"fixed": "2.2.0"}, {"introduced": "2.0.0"}], False, "2.2.0"),
        ("maven", "1.0", [{"introduced": "0"}], False, ""),
    ],
)
def test_ranges(type_, version, events, hit, fixed):
    found = affected(type_, version, [], [{"type": "ECOSYSTEM", "events": events}])
    assert found == (hit, fixed if hit else "")


def test_versions_that_are_listed_are_affected():
    assert affected("maven", "1.0", ["1.0"], []) == (True, "")
    assert (
        affected("npm", "1", ["1.0.0"], [{"type": "GIT", "events": [{"introduced": "0"}]}])[0]
        is False
    )


@given(st.lists(st.integers(0, 3), min_size=1, max_size=3), st.lists(st.integers(0, 3), min_size=1))
def test_semver_orders_numbers(one, other):
    a, b = (semver_key(".".join(map(str, x[:3]))) for x in (one, other))
    pad = [[*x, 0, 0][:3] for x in (one, other)]
    assert (a < b) == (pad[0] < pad[1])


def test_orders_refuse_what_is_no_version():
    assert semver_key("abc") is None
    assert python_key("a b") is None
    assert semver_key("1.0.0-alpha") < semver_key("1.0.0-alpha.1") < semver_key("1.0.0-beta")
    assert semver_key("1.0.0-2") < semver_key("1.0.0-10") < semver_key("1.0.0-a") < semver_key("1")


def test_osv_finds_language_packages_and_distributions():
    thing = component_of("pkg:pypi/flask-thing@1.0")
    wolfi = apk("libx-dev", "1-r0", "libx")
    records = [
        osv(events=[{"introduced": "0"}], aliases=["CVE-2026-7"], summary="bad\nthing"),
        osv("CGA-1", "Wolfi", "libx", [{"introduced": "0"}, {"fixed": "2-r0"}]),
        osv("CGA-2", "Alpine:v3.20", "libx", [{"introduced": "0"}]),
        osv("GHSA-w", events=[{"introduced": "0"}], withdrawn="2026-01-01T00:00:00Z"),
    ]
    report = run([thing, wolfi], feed(*records))
    assert [(v.id, v.component.name, v.fixed) for v in report.found] == [
        ("CVE-2026-7", "flask-thing", ""),
        ("CGA-1", "libx-dev", "2-r0"),
    ]
    assert report.found[0].summary == "bad"
    assert report.databases[0].updated == datetime(2026, 5, 1, tzinfo=UTC)


def test_ratings():
    vector = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"
    assert severity_of({"severity": [{"type": "CVSS_V3", "score": vector}]}) == "critical"
    four = "CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N"
    assert severity_of({"severity": [{"type": "CVSS_V4", "score": four}]}) == "critical"
    two = "AV:N/AC:L/Au:N/C:P/I:P/A:P"
    assert severity_of({"severity": [{"type": "CVSS_V2", "score": two}]}) == "high"
    assert severity_of({"database_specific": {"severity": "MODERATE"}}) == "medium"
    for score in ("nonsense", 7, None, "CVSS:3.1/AV:X"):
        assert severity_of({"severity": [{"score": score}]}) == "unknown"


def test_databases_complete_each_other():
    """The distribution knows the fix, the feed how bad it is; and its 'not affected' clears."""
    database = secdb(libx={"2-r0": ["CVE-1"], "0": ["CVE-2"]})
    vector = {"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}
    records = [
        osv("GHSA-1", "npm", "unrelated", aliases=["CVE-1"], severity=[vector]),
        osv("GHSA-2", "Wolfi", "libx", [{"introduced": "0"}], aliases=["CVE-2"]),
    ]
    report = run([apk("libx", "1-r0")], feed(database), feed(*records))
    assert [(v.id, v.severity, v.fixed) for v in report.found] == [("CVE-1", "critical", "2-r0")]
    assert [c.vulnerability.id for c in report.cleared] == ["CVE-2"]


def test_names_of_one_vulnerability_are_one():
    records = [
        osv("A-1", "Wolfi", "libx", [{"introduced": "0"}], aliases=["CVE-9"]),
        osv("GHSA-9", "Wolfi", "libx", [{"introduced": "0"}, {"fixed": "3-r0"}], aliases=["CVE-9"]),
    ]
    (one,) = run([apk("libx", "1-r0")], feed(*records)).found
    assert (one.id, one.fixed) == ("CVE-9", "3-r0")
    assert one.aliases == {"A-1", "GHSA-9", "CVE-9"}


def test_zip_archives_and_folders(tmp_path):
    record = osv("CGA-1", "Wolfi", "libx", [{"introduced": "0"}])
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("CGA-1.json", json.dumps(record))
        archive.writestr("README.txt", "no")
    (tmp_path / "a").mkdir()
    (tmp_path / "a/CGA-1.json").write_text(json.dumps(record))
    for one in (Feed("z", packed.getvalue(), ""), Feed(str(tmp_path), None, "")):
        assert ids(run([apk("libx", "1-r0")], one)) == ["CGA-1"]


def vex(status, products=None, moment="2026-01-01T00:00:00Z", **more):
    statement = {"vulnerability": {"name": "CVE-1"}, "status": status, **more}
    if products is not None:
        statement["products"] = products
    document = {"@context": "https://openvex.dev/ns/v0.2.0", "timestamp": moment}
    return parse_vex(json.dumps({**document, "statements": [statement]}).encode(), "vex")


def test_vex():
    component = apk("libx", "1-r0")
    database = feed(secdb(libx={"2-r0": ["CVE-1"]}))

    def found(*statements):
        judgement = Judgement(statements=[s for one in statements for s in one])
        return ids(run([component], database, judgement=judgement))

    no = {"justification": "vulnerable_code_not_present"}
    assert found(vex("not_affected", **no)) == []
    assert found(vex("fixed", [{"@id": "pkg:apk/wolfi/libx"}])) == []
    assert found(vex("fixed", [{"@id": "pkg:apk/wolfi/liby"}])) == ["CVE-1"]
    assert found(vex("affected")) == ["CVE-1"]
    of_image = {"@id": f"pkg:oci/app@{DIGEST.replace(':', '%3A')}"}
    assert found(vex("fixed", [of_image])) == []
    part = [{"@id": component.purl}]
    assert found(vex("fixed", [{**of_image, "subcomponents": part}])) == []
    other = {"@id": "pkg:oci/app@sha256:" + "b" * 64, "subcomponents": part}
    assert found(vex("fixed", [other])) == ["CVE-1"]
    assert found(vex("fixed", [{**of_image, "subcomponents": ["pkg:apk/wolfi/liby"]}])) == ["CVE-1"]
    later = vex("affected", moment="2026-02-01T00:00:00Z")
    assert found(vex("not_affected", **no), later) == ["CVE-1"]


@pytest.mark.parametrize(
    "data",
    [
        b"[]",
        b"{}",
        b'{"statements": [{}]}',
        b'{"statements": [{"status": "fixed"}]}',
        b'{"statements": [{"status": "fixed", "vulnerability": "CVE-1"}]}',
        b'{"statements": [{"timestamp": "2026-01-01", "status": "not_affected"}]}',
    ],
)
def test_bad_vex_is_refused(data):
    with pytest.raises(VulnerabilityDataError, match="OpenVEX"):
        parse_vex(data, "vex")


def test_accepted_for_a_time():
    component = apk("libx", "1-r0")
    database = feed(secdb(libx={"2-r0": ["CVE-1"]}))
    accepted = Ignored("CVE-1", "not reachable", NOW + timedelta(days=1))
    for item, expected in (
        (accepted, []),
        (replace(accepted, until=NOW), ["CVE-1"]),
        (replace(accepted, package="libx"), []),
        (replace(accepted, package="liby"), ["CVE-1"]),
        (replace(accepted, id="CVE-2"), ["CVE-1"]),
    ):
        report = run([component], database, judgement=Judgement([item]))
        assert ids(report) == expected
        assert bool(report.cleared) == (not expected)
    assert "accepted until" in text(run([component], database, judgement=Judgement([accepted])))


def test_the_gate():
    report = run([apk("libx", "1-r0")], feed(secdb(libx={"2-r0": ["CVE-1"]})))
    Gate().check(report)
    Gate(frozenset(["critical"])).check(report)
    with pytest.raises(VulnerableError, match=r"CVE-1 \(unknown, libx 1-r0, fixed in 2-r0\)"):
        Gate(frozenset(["unknown"]), only_fixable=True).check(report)
    record = osv("CGA-1", "Wolfi", "libx", [{"introduced": "0"}])
    Gate(frozenset(["unknown"]), only_fixable=True).check(run([apk("libx", "1-r0")], feed(record)))


def test_the_webhook_reads_what_we_write():
    """What counts here counts there, and what was cleared does not."""
    vector = {"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}
    record = osv(
        "GHSA-1", "Wolfi", "libx", [{"introduced": "0"}, {"fixed": "2-r0"}],
        aliases=["CVE-1"], severity=[vector],
    )  # fmt: skip
    dirty = run([apk("libx", "1-r0")], feed(record))
    clean = run([apk("libx", "2-r0")], feed(record))
    rules = VulnerabilityRules(max_age="24h")
    ignoring = VulnerabilityRules(
        ignore=[PolicyIgnored(id="GHSA-1", reason="x", until=NOW + timedelta(days=9999))]
    )

    for kind, make in ((VULN, cosign_vuln), (IN_TOTO_VULNS, in_toto)):

        def judged(report, rules, kind=kind, make=make):
            predicate = json.loads(json.dumps(make(report)))
            attested = VerifiedAttestation(
                identity=None, digest=DIGEST, predicate_type=kind, predicate=predicate
            )
            return list(vulnerability_failures(rules, [attested], [], report.finished))

        assert judged(dirty, rules) == ["vulnerabilities: CVE-1 (critical, libx 1-r0)"]
        assert judged(dirty, ignoring) == []
        assert judged(clean, rules) == []
    (result,) = in_toto(dirty)["scanner"]["result"]
    assert (result["id"], result["severity"][0]["score"]) == ("CVE-1", "critical")
    assert as_json(dirty)["vulnerabilities"][0]["fixed"] == "2-r0"


def test_components_of_documents():
    spdx = {
        "spdxVersion": "SPDX-2.3",
        "documentDescribes": ["SPDXRef-i"],
        "packages": [
            {"SPDXID": "SPDXRef-i", "name": "i", "versionInfo": DIGEST},
            {
                "SPDXID": "SPDXRef-a",
                "sourceInfo": "built from openssl at abc",
                "externalRefs": [
                    {
                        "referenceType": "purl",
                        "referenceLocator": "pkg:apk/wolfi/libssl3@3.0%2B1-r0?arch=x86_64",
                    },
                    {"referenceType": "purl", "referenceLocator": "pkg:golang/a.b/c/d@v1.2.3"},
                    {"referenceType": "purl", "referenceLocator": "pkg:oci/x@sha256:1"},
                    {"referenceType": "purl", "referenceLocator": "nonsense"},
                ],
            },
        ],
    }
    found, digest = document_components(json.dumps(spdx).encode(), "x")
    assert digest == DIGEST
    assert [(c.name, c.version, c.origin) for c in found] == [
        ("libssl3", "3.0+1-r0", "openssl"),
        ("a.b/c/d", "v1.2.3", ""),
    ]
    assert component_of("pkg:maven/org.x/y@1").name == "org.x:y"
    assert component_of("pkg:apk/wolfi/a@1?upstream=b").source == "b"
    for data in (
        b"[]",
        b"{}",
        b'{"spdxVersion": "SPDX-2.3"}',
        b'{"bomFormat":"CycloneDX","components":[1]}',
    ):
        with pytest.raises(VulnerabilityDataError):
            document_components(data, "x")


KEYS = (
    "id", "affected", "package", "ecosystem", "name", "ranges", "events", "type", "introduced",
    "severity", "aliases",
)  # fmt: skip


@given(
    st.recursive(
        st.none() | st.booleans() | st.text(max_size=5) | st.integers(),
        lambda c: st.lists(c, max_size=3) | st.dictionaries(st.sampled_from(KEYS), c, max_size=4),
        max_leaves=20,
    )
)
def test_no_record_breaks_the_scan(record):
    wanted = Wanted([apk("a", "1")])
    list(matches(record, wanted, "db"))
