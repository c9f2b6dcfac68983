"""``package lint``, ``scan`` and ``license-check`` as a user calls them."""

import gzip
import hashlib
import json

import pytest
from click.testing import CliRunner

from apk_files import apk, file, node, tar
from plimsoll.apk.package import PackageFormatError
from plimsoll.apk.tarfmt import Type
from plimsoll.builder.cli.licencecheck import LicenceCheckFailedError, license_check_command
from plimsoll.builder.cli.lint import LintFailedError, lint_command
from plimsoll.builder.cli.scan import scan_command
from plimsoll.builder.linters.lint import UnknownLinterError
from plimsoll.builder.store import StorageError

CONFIG = b"""\
package:
  name: p
  version: 1
  checks: {disabled: [usrmerge]}
  dependencies: {runtime: [bash], provides: [p-api=1]}
test:
  pipeline:
    - uses: test/tw/ldd-check
    - runs: "true"
"""


def package(*members, config=None):
    data = tar(*members)
    content = apk(data, info="arch = x86_64\ndepend = so:old\n")
    if config is None:
        return content
    packed = gzip.compress(data, mtime=0)
    info = f"pkgname = p\npkgver = 1-r0\ndatahash = {hashlib.sha256(packed).hexdigest()}\n"
    control = tar(file(".PKGINFO", info.encode()), file(".melange.yaml", config), end=b"")
    return gzip.compress(control, mtime=0) + packed


@pytest.fixture
def write(tmp_path):
    def make(content, name="p.apk"):
        path = tmp_path / name
        path.write_bytes(content)
        return str(path)

    return make


def run(command, *args):
    return CliRunner().invoke(command, args)


def test_findings_are_shown_and_errors_fail(write):
    path = write(package(*(file(f"dev/{n:02}") for n in range(12)), file("opt/x")))
    result = run(lint_command, path)
    assert isinstance(result.exception, LintFailedError)
    assert f"{path}: error: dev: dev/00 lies in /dev" in result.output
    assert "… and 2 more of dev" in result.output
    assert "warning: opt: opt/x lies in /opt" in result.output
    assert "dev/11" in run(lint_command, "--all", path).output


def test_choice_of_linters(write):
    path = write(package(file("dev/x"), file("opt/x")))
    assert run(lint_command, "--lint-require", "srv,dll", path).exit_code == 0
    chosen = run(lint_command, "--lint-require", "opt", "--lint-warn", "dev", "--json", path)
    (found,) = json.loads(chosen.output)
    assert {f["linter"]: f["severity"] for f in found["findings"]} == {
        "dev": "warning",
        "opt": "error",
    }
    assert isinstance(run(lint_command, "--lint-require", "x", path).exception, UnknownLinterError)


def test_embedded_configuration_counts(write):
    members = [file("bin/a"), file("usr/lib/liba.so.1")]
    path = write(package(*members, config=CONFIG))
    result = run(lint_command, path)
    assert result.exit_code == 0
    assert "warning: usrmerge: bin/a" in result.output
    assert "lddcheck" not in result.output
    for broken in (b"\xff\0", b"- a", b"package: {name: other}", b"package: [x]\nsubpackages: 7"):
        other = run(lint_command, write(package(*members, config=broken), "q.apk"))
        assert isinstance(other.exception, LintFailedError)


def test_persisted_results(write, tmp_path):
    path = write(package(file("opt/x")))
    out = tmp_path / "out"
    assert run(lint_command, "--persist-lint-results", "--out-dir", str(out), path).exit_code == 0
    written = json.loads((out / "x86_64/lint-p-1-r0.json").read_text())
    assert written["findings"][0]["path"] == "opt/x"


def test_scan(write):
    path = write(package(file("usr/bin/a", b"#!/bin/zsh\n", mode=0o755)))
    assert run(scan_command, path).output == "depend = cmd:zsh\nprovides = cmd:a=1-r0\n"
    difference = run(scan_command, "--diff", path).output
    assert difference == "-depend = so:old\n+depend = cmd:zsh\n+provides = cmd:a=1-r0\n"


def test_scan_with_components(write):
    metadata = b"Name: x\nVersion: 2\n"
    path = write(
        package(
            file("usr/lib/python3.12/site-packages/x-2.dist-info/METADATA", metadata),
            file("usr/bin/a b", mode=0o755),
            config=CONFIG,
        )
    )
    result = run(scan_command, "--vendored", path, path)
    assert "# component = pkg:pypi/x@2 (usr/lib/" in result.output
    assert "depend = bash\n" in result.output
    assert "cannot stand in a dependency" in result.stderr
    (found,) = json.loads(run(scan_command, "--vendored", "--json", path).stdout)
    assert found["components"][0]["purl"] == "pkg:pypi/x@2"
    assert found["provides"] == ["p-api=1"]


@pytest.mark.parametrize("command", [lint_command, scan_command])
def test_what_is_no_package(write, tmp_path, command):
    assert isinstance(run(command, str(tmp_path / "gone")).exception, StorageError)
    content = package(file("x"))
    assert run(command, write(content[:-20])).exception.reason == "CorruptArchive"
    hostile = apk(tar(file("../x")))
    assert run(command, write(hostile)).exception.reason == "UnsafePackage"
    no_info = apk(tar(), control=tar(file(".x"), end=b""))
    assert isinstance(run(command, write(no_info)).exception, PackageFormatError)


ISC = """Permission to use, copy, modify, and/or distribute this software for any purpose with or
without fee is hereby granted, provided that the above copyright notice and this permission notice
appear in all copies.

THE SOFTWARE IS PROVIDED "AS IS" AND THE AUTHOR DISCLAIMS ALL WARRANTIES WITH REGARD TO THIS
SOFTWARE INCLUDING ALL IMPLIED WARRANTIES OF MERCHANTABILITY AND FITNESS. IN NO EVENT SHALL THE
AUTHOR BE LIABLE FOR ANY SPECIAL, DIRECT, INDIRECT, OR CONSEQUENTIAL DAMAGES OR ANY DAMAGES
WHATSOEVER RESULTING FROM LOSS OF USE, DATA OR PROFITS, WHETHER IN AN ACTION OF CONTRACT, NEGLIGENCE
OR OTHER TORTIOUS ACTION, ARISING OUT OF OR IN CONNECTION WITH THE USE OR PERFORMANCE OF THIS
SOFTWARE.
"""


def test_license_check(tmp_path):
    config = tmp_path / "c.yaml"
    config.write_text("package: {name: p, version: 1, copyright: [{license: MIT}]}\n")
    result = run(license_check_command, str(config))
    assert (result.exit_code, result.output) == (0, "MIT\n")
    sources = tmp_path / "src"
    sources.mkdir()
    (sources / "LICENSE").write_text(ISC)
    result = run(license_check_command, "--source-dir", str(sources), "--json", str(config))
    assert isinstance(result.exception, LicenceCheckFailedError)
    (finding,) = json.loads(result.output)["findings"]
    assert finding == {"path": "LICENSE", "message": "reads like ISC, which is not declared"}


def test_hard_links_share_their_content(write):
    script = file("usr/bin/a", b"#!/bin/zsh\n", mode=0o755)
    path = write(
        package(script, node("usr/bin/b", Type.HARDLINK, linkname="usr/bin/a", mode=0o755))
    )
    assert "provides = cmd:b=1-r0" in run(scan_command, path).output
