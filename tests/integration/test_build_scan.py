"""``plimsoll scan`` on an image, its SBOM and its lock."""

from __future__ import annotations

import functools
import http.server
import io
import json
import threading
import zipfile

import pytest
from click.testing import CliRunner

from apk_repository import Repository
from plimsoll.builder.vulnerabilities.model import VulnerabilityDataError, VulnerableError
from plimsoll.cli.main import cli

pytestmark = pytest.mark.integration

EMBEDDED = {
    "spdxVersion": "SPDX-2.3",
    "documentDescribes": ["SPDXRef-Package-tool"],
    "packages": [
        {"SPDXID": "SPDXRef-Package-tool", "name": "tool", "versionInfo": "1.0-r0"},
        {
            "SPDXID": "SPDXRef-Package-mod",
            "name": "example.org/mod",
            "versionInfo": "v1.2.0",
            "externalRefs": [
                {
                    "referenceCategory": "PACKAGE-MANAGER",
                    "referenceType": "purl",
                    "referenceLocator": "pkg:golang/example.org/mod@v1.2.0",
                }
            ],
        },
    ],
    "relationships": [
        {
            "spdxElementId": "SPDXRef-Package-tool",
            "relationshipType": "CONTAINS",
            "relatedSpdxElement": "SPDXRef-Package-mod",
        }
    ],
}
SECDB = {"packages": [{"pkg": {"name": "source", "secfixes": {"1.1-r0": ["CVE-2099-1"]}}}]}
OSV = {
    "id": "GO-2099-1",
    "aliases": ["CVE-2099-2"],
    "summary": "a hole",
    "database_specific": {"severity": "HIGH"},
    "affected": [
        {
            "package": {"ecosystem": "Go", "name": "example.org/mod"},
            "ranges": [
                {"type": "SEMVER", "events": [{"introduced": "0"}, {"fixed": "1.3.0"}]},
            ],
        }
    ],
}


class Desk:
    """An image, its SBOMs, its lock, and databases."""

    def __init__(self, tmp):
        self.tmp = tmp
        repository = Repository(tmp / "repo")
        repository.add("libsplit", {"usr/lib/libsplit.so": "x"}, origin="source")
        repository.add(
            "tool",
            {
                "usr/bin/tool": "t",
                "var/lib/db/sbom/tool-1.0-r0.spdx.json": json.dumps(EMBEDDED),
                "etc/os-release": "ID=wolfi\nNAME=Wolfi\n",
            },
        )
        repository.write()
        self.config = tmp / "image.yaml"
        self.config.write_text(
            f"contents:\n  keyring: [{repository.key_file}]\n"
            f"  repositories: [{repository.root}]\n  packages: [libsplit, tool]\narchs: [amd64]\n"
        )
        (tmp / "security.json").write_text(json.dumps(SECDB))
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr("GO-2099-1.json", json.dumps(OSV))
        (tmp / "all.zip").write_bytes(packed.getvalue())
        self.databases = ["--db", str(tmp / "security.json"), "--db", str(tmp / "all.zip")]
        options = ("--sbom-formats", "spdx,cyclonedx")
        self.run("build", str(self.config), "x.example/app:1", str(tmp / "app.tar"), *options)
        self.run("lock", str(self.config))

    def run(self, *arguments, status=0):
        result = CliRunner().invoke(cli, arguments)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == status, result.output
        return result

    def found(self, what, *options):
        result = self.run("scan", str(self.tmp / what), *self.databases, *options)
        return json.loads(result.stdout)


@pytest.fixture
def desk(tmp_path, monkeypatch):
    monkeypatch.setenv("PLIMSOLL_CACHE_DIR", str(tmp_path / "cache"))
    return Desk(tmp_path)


def test_image_and_documents_tell_the_same(desk):
    for what in ("app.tar", "sbom-x86_64.spdx.json", "sbom-x86_64.cdx.json"):
        found = desk.found(what, "--format", "json")
        rows = [
            (v["id"], v["severity"], v["package"], v["fixed"]) for v in found["vulnerabilities"]
        ]
        assert rows == [
            ("CVE-2099-2", "high", "example.org/mod", "1.3.0"),
            ("CVE-2099-1", "unknown", "libsplit", "1.1-r0"),
        ], what
    # A lock knows its packages, not what is inside them.
    found = desk.found("image.lock.json", "--format", "json")
    assert [v["id"] for v in found["vulnerabilities"]] == ["CVE-2099-1"]


def test_what_fails_and_what_is_accepted(desk):
    text = desk.run("scan", str(desk.tmp / "app.tar"), *desk.databases).stdout
    assert "CVE-2099-2" in text
    assert "1 high, 1 unknown" in text
    with pytest.raises(VulnerableError, match="CVE-2099-2"):
        desk.found("app.tar", "--fail-on", "high")
    accepted = "CVE-2099-2@example.org/mod=2999-12-31:not reached"
    found = desk.found("app.tar", "--fail-on", "high", "--ignore", accepted, "--format", "json")
    assert "not reached" in found["cleared"][0]["why"]
    with pytest.raises(VulnerableError):
        desk.found("app.tar", "--fail-on", "high", "--ignore", "GO-2099-1=2000-01-01:over")
    statement = {
        "vulnerability": {"name": "GO-2099-1"},
        "products": [{"@id": "pkg:golang/example.org/mod"}],
        "status": "not_affected",
        "justification": "vulnerable_code_not_in_execute_path",
    }
    document = {"timestamp": "2026-01-01T00:00:00Z", "statements": [statement]}
    (desk.tmp / "vex.json").write_text(json.dumps(document))
    vex = ("--vex", str(desk.tmp / "vex.json"))
    desk.run("scan", str(desk.tmp / "app.tar"), *desk.databases, *vex, "--fail-on", "high")
    bad = desk.run("scan", "x", "--db", "y", "--ignore", "CVE-1", status=2)
    assert "write CVE-2026-1=2026-12-31:not reachable" in bad.output


def test_reports_for_others(desk):
    report = desk.tmp / "report.json"
    desk.run(
        "scan", str(desk.tmp / "app.tar"), *desk.databases, "--format", "cosign-vuln",
        "--output", str(report),
    )  # fmt: skip
    value = json.loads(report.read_text())
    targets = {r["Class"]: r["Vulnerabilities"] for r in value["scanner"]["result"]["Results"]}
    assert targets["lang-pkgs"][0]["Severity"] == "HIGH"
    assert targets["os-pkgs"][0]["FixedVersion"] == "1.1-r0"
    assert value["metadata"]["scanFinishedOn"].endswith("Z")
    found = desk.found("app.tar", "--format", "in-toto")
    assert len(found["scanner"]["result"]) == 2


def test_databases_by_url(desk):
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(desk.tmp))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            url = f"http://127.0.0.1:{server.server_port}"
            text = desk.run(
                "scan", str(desk.tmp / "app.tar"), "--db", f"{url}/security.json"
            ).stdout
            assert "CVE-2099-1" in text
            (desk.tmp / "page.html").write_text("<html>")
            with pytest.raises(VulnerabilityDataError, match=r"page\.html is no JSON"):
                desk.run("scan", str(desk.tmp / "app.tar"), "--db", f"{url}/page.html")
        finally:
            server.shutdown()
            thread.join()
    with pytest.raises(VulnerabilityDataError, match="there is no nothing"):
        desk.run("scan", str(desk.tmp / "app.tar"), "--db", "nothing")
