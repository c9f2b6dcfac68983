"""The commands around packages, as a person calls them."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from plimsoll.apk.index import read_index
from plimsoll.apk.keys import Keyring, SigningKey
from plimsoll.apk.package import verify_package
from plimsoll.apk.packageinfo import PackageInfo
from plimsoll.apk.writer import PackageFile, write_package
from plimsoll.builder.package.load import load_text
from plimsoll.cli.main import cli
from plimsoll.errors import Error

CONFIG = """\
package: {name: a, version: 1.2.3, epoch: 4, target-architecture: [x86_64, aarch64]}
vars: {who: me}
pipeline:
  - name: say it
    runs: echo ${{vars.who}} ${{build.arch}}
subpackages:
  - {name: a-doc, description: words}
  - name: a-dev
update: {enabled: true, github: {identifier: a/a}}
"""


def _run(*words):
    return CliRunner().invoke(cli, ["package", *map(str, words)])


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text(CONFIG)
    return path


@pytest.fixture
def packages(tmp_path):
    found = []
    for name, arch in (("one", "x86_64"), ("two", "x86_64"), ("three", "aarch64")):
        path = tmp_path / f"{name}-1.0-r0.apk"
        write_package(path, PackageInfo(name, "1.0-r0", arch=arch), [PackageFile("usr/a")])
        found.append(path)
    return found


def test_compile(config, tmp_path):
    scripts = tmp_path / "scripts"
    result = _run("compile", config, "--arch", "arm64", "--scripts", scripts)
    assert result.exit_code == 0, result.output
    step = load_text(result.stdout, "out").config.pipeline[0]
    assert (step.name, step.runs) == ("say it", "echo me aarch64")
    (script,) = (scripts / "a").iterdir()
    assert script.name == "001-say-it.sh"
    assert script.read_text().startswith("#!/bin/sh\nset -eo pipefail\n")
    as_json = _run("compile", config, "--arch", "amd64", "--format", "json")
    assert json.loads(as_json.stdout)["pipeline"][0]["runs"] == "echo me x86_64"
    refused = _run("compile", config, "--arch", "riscv64")
    assert "a.yaml:1:46: the package is not for riscv64" in str(refused.exception)


def test_variables_from_a_file(config, tmp_path):
    path = tmp_path / "vars.yaml"
    path.write_text("who: you\n")
    result = _run("query", config, "{{ .Vars.who }}", "--vars-file", path)
    assert result.stdout == "you\n"
    path.write_text("who: [a]\n")
    assert "vars.yaml:1:1" in str(_run("query", config, ".", "--vars-file", path).exception)


@pytest.mark.parametrize(
    ("template", "answer"),
    [
        ("{{ .Package.Name }}-{{.Package.Version}}-r{{ .Package.Epoch }}", "a-1.2.3-r4"),
        ("{{ .Package.FullVersion }}", "1.2.3-r4"),
        ("{{ range .Subpackages }}{{ $.Package.Name }}/{{ .Name }} {{ end }}", "a/a-doc a/a-dev "),
        ("{{ range .Data }}x{{ else }}none{{ end }}", "none"),
        ("{{ if .Update.Enabled }}yes{{ else }}no{{ end }}", "yes"),
        ("{{ if .Test }}yes{{ else }}{{ if .Vars }}in{{ end }}no{{ end }}", "inno"),
        ('{{ index .Vars "who" }} {{ len .Subpackages }}', "me 2"),
        ("a {{- .Package.Name -}} b", "aab"),
        ("{{ json .Update.Github }}", '{"identifier": "a/a"}'),
        ("{{ .Package.TargetArchitecture }}", "[x86_64 aarch64]"),
        ("{{ (index .Subpackages 0) }}", None),
        ("{{ .Package.Nam }}", None),
        ("{{ range .Subpackages }}", None),
        ("{{ end }}", None),
        ("{{ .Package.Name", None),
        ("{{ nothing }}", None),
    ],
)
def test_query(config, template, answer):
    result = _run("query", config, template)
    if answer is None:
        assert isinstance(result.exception, Error)
    else:
        assert result.stdout == answer + "\n"


def test_package_version(config):
    assert _run("package-version", config).stdout == "a-1.2.3-r4\n"


def test_keygen_sign_and_index(tmp_path, packages):
    key = tmp_path / "me.rsa"
    assert _run("keygen", key, "--key-size", "2048").exit_code == 0
    assert key.stat().st_mode & 0o777 == 0o600
    assert key.read_text().startswith("-----BEGIN RSA PRIVATE KEY-----")
    public = tmp_path / "me.rsa.pub"
    assert public.read_text().startswith("-----BEGIN PUBLIC KEY-----")
    keyring = Keyring.from_files([public])

    before = [verify_package(path, checksum=None) for path in packages]
    for _ in range(2):
        assert _run("sign", "-k", key, *packages).exit_code == 0
    after = [verify_package(path, checksum=None, keyring=keyring) for path in packages]
    assert [p.info for p in after] == [p.info for p in before]
    assert [p.control.sha1 for p in after] == [p.control.sha1 for p in before]

    index = tmp_path / "APKINDEX.tar.gz"
    result = _run("index", "-o", index, "-a", "amd64", "-d", "mine", *packages)
    assert result.exit_code == 0, result.output
    unsigned = index.read_bytes()
    assert sorted(read_index(unsigned, None, source="x").names()) == ["one", "two"]
    assert _run("sign-index", "--signing-key", key, index).exit_code == 0
    found = read_index(index.read_bytes(), keyring, source="x")
    assert found.description == "mine"
    assert found.named("one")[0].checksum == after[0].control.sha1
    assert index.read_bytes().endswith(unsigned)
    again = _run("sign-index", "--signing-key", key, index)
    assert "is signed already" in str(again.exception)
    assert _run("sign-index", "--force", "--signing-key", key, index).exit_code == 0
    assert len(read_index(index.read_bytes(), keyring, source="x")) == 2

    merged = _run("index", "-o", index, "--merge", "--signing-key", key, packages[2])
    assert merged.exit_code == 0, merged.output
    assert sorted(read_index(index.read_bytes(), keyring, source="x").names()) == [
        "one",
        "three",
        "two",
    ]


def test_keys_are_not_written_over(tmp_path):
    key = tmp_path / "me.rsa"
    key.write_text("mine")
    assert _run("keygen", key, "--key-size", "2048").exit_code == 2
    assert key.read_text() == "mine"
    assert _run("keygen", tmp_path / "me.pem").exit_code == 2
    assert _run("keygen", tmp_path / "small.rsa", "--key-size", "1024").exit_code == 2
    assert _run("sign", "-k", tmp_path / "none.rsa", key).exit_code == 2


def test_what_is_no_package_is_neither_signed_nor_indexed(tmp_path, packages):
    key = tmp_path / "me.rsa"
    key.write_bytes(SigningKey.generate("me", 2048).private_pem())
    damaged = packages[0]
    data = bytearray(damaged.read_bytes())
    data[-20] ^= 1
    damaged.write_bytes(data)
    assert isinstance(_run("sign", "-k", key, damaged).exception, Error)
    index = tmp_path / "APKINDEX.tar.gz"
    assert isinstance(_run("index", "-o", index, damaged).exception, Error)
    assert not index.exists()
    assert damaged.read_bytes() == data
