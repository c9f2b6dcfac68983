"""Packages built for real: guest from packages, steps in a sandbox, signed packages and index."""

from __future__ import annotations

import hashlib
import json
import os
import pty
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from debian_apk.apt import Apt, AptError
from debian_apk.repository import build as build_repository
from plimsoll.apk.index import read_index
from plimsoll.apk.keys import Keyring
from plimsoll.apk.package import verify_package
from plimsoll.apk.tarfmt import Type
from plimsoll.cli.main import cli
from plimsoll.errors import Error

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(shutil.which("apt-get") is None, reason="needs apt-get"),
    pytest.mark.skipif(shutil.which("bwrap") is None, reason="needs bubblewrap"),
]

CONFIG = """\
package:
  name: hello
  version: 1.0.0
  epoch: 1
  description: says hello
  url: https://example.org
  copyright: [{license: MIT}]
  dependencies: {provides: ["greeter=${{package.full-version}}"]}
  scriptlets:
    post-install: |
      #!/bin/sh
      echo installed
    trigger: {paths: [/usr/share/words], script: "#!/bin/sh\\n"}
  setcap:
    - {path: /usr/bin/hello, add: {cap_net_raw: +ep}}
environment:
  contents: {packages: [bash, coreutils, findutils]}
pipeline:
  - runs: |
      mkdir -p ${{targets.destdir}}/usr/bin ${{targets.destdir}}/usr/share/man/man1
      printf '#!/bin/bash\\necho hello\\n' >${{targets.destdir}}/usr/bin/hello
      chmod 755 ${{targets.destdir}}/usr/bin/hello
      ln ${{targets.destdir}}/usr/bin/hello ${{targets.destdir}}/usr/bin/hi
      ln -s hello ${{targets.destdir}}/usr/bin/hallo
      cp words.txt ${{targets.destdir}}/usr/share/man/man1/hello.1
subpackages:
  - name: hello-doc
    pipeline: [{uses: manpages}]
test: {pipeline: [{runs: hello}]}
"""
DEVICE = """\
      mkdir ${{targets.destdir}}/dev
      cp words.txt ${{targets.destdir}}/dev
      cp words.txt"""
# The built-in pipeline asks for busybox, which this small repository does not have.
MANPAGES = """\
pipeline:
  - runs: |
      mkdir -p ${{targets.contextdir}}/usr/share
      mv ${{targets.destdir}}/usr/share/man ${{targets.contextdir}}/usr/share/
"""


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    folder = tmp_path_factory.mktemp("debian")
    cache = folder / "cache"
    cache.mkdir()
    try:
        Apt("amd64", cache).packages()
        build_repository(
            folder / "repo", ["bash", "coreutils", "dash", "findutils"], ["amd64"], cache
        )
    except AptError as error:
        pytest.skip(f"no Debian packages can be had here: {error}")
    return folder / "repo"


@pytest.fixture
def run(tmp_path, repository, monkeypatch):
    monkeypatch.setenv("PLIMSOLL_CACHE_DIR", str(repository.parent / "plimsoll"))
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    (key,) = repository.glob("*.rsa.pub")
    config = tmp_path / "hello.yaml"
    pipelines = tmp_path / "pipelines"
    pipelines.mkdir()
    (pipelines / "manpages.yaml").write_text(MANPAGES)
    sources = tmp_path / "hello"
    sources.mkdir()
    (sources / "words.txt").write_text("words\n")

    def build(text, *words, out="out"):
        config.write_text(text)
        command = ["package", "build", config, "--arch", "amd64", "-r", repository, "-k", key]
        command += ["--out-dir", tmp_path / out, "--pipeline-dir", pipelines, *words]
        return CliRunner().invoke(cli, [str(word) for word in command])

    return build


def _key(tmp_path):
    key = tmp_path / "me.rsa"
    if not key.exists():
        CliRunner().invoke(cli, ["package", "keygen", str(key), "--key-size", "2048"])
    return key, Keyring.from_files([tmp_path / "me.rsa.pub"])


def test_build(run, tmp_path):
    key, keyring = _key(tmp_path)
    options = ["--signing-key", key, "--namespace", "demo", "--build-date", "2026-01-02"]
    result = run(CONFIG, *options)
    assert result.exit_code == 0, result.output
    folder = tmp_path / "out/x86_64"
    path = folder / "hello-1.0.0-r1.apk"
    assert result.stdout.splitlines() == [str(path), str(folder / "hello-doc-1.0.0-r1.apk")]
    index = read_index((folder / "APKINDEX.tar.gz").read_bytes(), keyring, source="index")
    entry = index.named("hello")[0]
    package = verify_package(path, checksum=entry.checksum, keyring=keyring)
    assert package.control_files == (".PKGINFO", ".melange.yaml", ".post-install", ".trigger")
    info = package.info
    assert (info.origin, info.maintainer, info.licenses) == ("hello", "demo", ("MIT",))
    assert info.build_time == 1767312000
    assert info.triggers == ("/usr/share/words",)
    assert info.depends == ("cmd:bash",)
    assert info.provides == ("cmd:hello=1.0.0-r1", "cmd:hi=1.0.0-r1", "greeter=1.0.0-r1")
    files = {}
    with path.open("rb") as file:
        for item in package.data(file):
            files[item.header.name] = (item.header, b"".join(map(bytes, item.chunks())))
    hello, _ = files["usr/bin/hello"]
    assert (hello.mode, hello.uid, hello.gid, hello.mtime) == (0o755, 0, 0, 1767312000)
    assert hello.xattrs["security.capability"].hex() == "0100000200200000" + "00" * 12
    assert files["usr/bin/hi"][0].type is Type.HARDLINK
    assert files["usr/bin/hallo"][0].linkname == "hello"
    sbom = json.loads(files["var/lib/db/sbom/hello-1.0.0-r1.spdx.json"][1])
    assert sbom["creationInfo"]["created"] == "2026-01-02T00:00:00Z"
    doc = verify_package(folder / "hello-doc-1.0.0-r1.apk", checksum=None, keyring=keyring)
    assert doc.info.origin == "hello"

    again = run(CONFIG, *options, out="again")
    assert again.exit_code == 0
    for name in ("hello-1.0.0-r1.apk", "hello-doc-1.0.0-r1.apk", "APKINDEX.tar.gz"):
        assert (tmp_path / "again/x86_64" / name).read_bytes() == (folder / name).read_bytes()


def test_steps_are_shut_in(run, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("mine")
    text = CONFIG.replace(
        "  - runs: |\n      mkdir",
        "  - runs: |\n"
        f"      [ ! -e {secret} ]\n"
        '      [ -z "$MY_TOKEN" ]\n'
        '      [ "$(id -u)" = 1000 ]\n'
        '      [ "$(grep -c : /proc/net/dev)" = 1 ] || [ "$(ls /sys 2>/dev/null)" = \'\' ]\n'
        "      for port in 80 443; do\n"
        "        ! (exec 3<>/dev/tcp/169.254.169.254/$port) 2>/dev/null\n"
        "      done\n"
        '      [ "$(ls /proc | while read -r p; do case $p in [0-9]*) echo $p; esac; done | wc -l)"'
        " -lt 9 ]\n"
        "      mkdir",
        1,
    )
    result = run(text)
    assert result.exit_code == 0, result.output


def test_a_failing_step_stops_the_build_and_says_where(run, tmp_path):
    text = CONFIG.replace("      cp words.txt", "      echo about to; nonsense | cat; cp words.txt")
    result = run(text, "--workspace-dir", tmp_path / "work")
    assert isinstance(result.exception, Error)
    assert "failed with status 127" in str(result.exception)
    assert "| about to" in str(result.exception)
    assert not (tmp_path / "out").exists()


def test_a_build_goes_on_after_its_last_good_step(run, tmp_path):
    first = "  - name: once\n    runs: echo x >>count\n"
    text = CONFIG.replace("pipeline:\n", f"pipeline:\n{first}", 1)
    broken = text.replace("cp words.txt", "cp nothing.txt")
    assert run(broken, "--workspace-dir", tmp_path / "work").exit_code != 0
    result = run(text, "--workspace-dir", tmp_path / "work")
    assert result.exit_code == 0, result.output
    assert "once was done before" in result.stderr
    assert (tmp_path / "work/home/count").read_text() == "x\n"
    changed = text.replace("echo x", "echo y")
    result = run(changed, "--workspace-dir", tmp_path / "work")
    assert result.exit_code == 0, result.output
    assert "was done before" not in result.stderr
    assert (tmp_path / "work/home/count").read_text() == "y\n"


def test_what_a_build_goes_on_with_must_be_the_same(run, tmp_path):
    """Other sources, variables or packages of the guest begin it anew."""
    first = "  - name: once\n    runs: echo x >>count; [ ! -e /usr/made ]; touch /usr/made\n"
    text = CONFIG.replace("pipeline:\n", f"pipeline:\n{first}", 1)
    work = ["--workspace-dir", tmp_path / "work"]
    assert run(text, *work).exit_code == 0
    assert "once was done before" in run(text, *work).stderr
    (tmp_path / "hello/words.txt").write_text("other words\n")
    assert "was done before" not in run(text, *work).stderr
    assert (tmp_path / "work/home/words.txt").read_text() == "other words\n"
    (tmp_path / "env").write_text("A=1\n")
    assert "was done before" not in run(text, *work, "--env-file", tmp_path / "env").stderr
    assert "was done before" not in run(text, *work, "--package-append", "dash").stderr
    assert (tmp_path / "work/guest/usr/bin/dash").exists()
    result = run(text.replace("touch /usr/made", "true"), *work)
    assert result.exit_code == 0, result.output
    assert not (tmp_path / "work/guest/usr/made").exists()


def test_what_a_build_leaves_beside_packages(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = ["--strip-origin-name=true", "--dependency-log", tmp_path / "needs"]
    options += ["--create-build-log", "--generate-provenance", "--generate-index=false"]
    options += ["--git-repo-url", "https://me:secret@example.org/p.git", "--git-commit", "c" * 40]
    result = run(CONFIG, *options, "--timeout", "1m", "--cpu", "1")
    assert result.exit_code == 0, result.output
    path = tmp_path / "out/x86_64/hello-1.0.0-r1.apk"
    assert verify_package(path, checksum=None).info.origin == ""
    assert not (path.parent / "APKINDEX.tar.gz").exists()
    needs = json.loads((tmp_path / "needs.x86_64").read_text())
    assert needs["hello"]["depends"] == ["cmd:bash"]
    assert (tmp_path / "packages.log").read_text().splitlines() == [
        "x86_64|hello|hello|1.0.0-r1",
        "x86_64|hello|hello-doc|1.0.0-r1",
    ]
    statement = json.loads((path.parent / "hello-1.0.0-r1.intoto.json").read_text())
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert statement["subject"][0] == {"name": path.name, "digest": {"sha256": digest}}
    definition = statement["predicate"]["buildDefinition"]
    assert definition["resolvedDependencies"][0] == {
        "uri": f"git+https://example.org/p.git@{'c' * 40}#hello.yaml",
        "name": "configuration",
        "digest": {"gitCommit": "c" * 40},
    }
    assert any(d["name"].startswith("bash-") for d in definition["resolvedDependencies"][1:])
    assert "secret" not in json.dumps(statement)


def test_options_about_the_guest(run, tmp_path):
    shell = tmp_path / "shell"
    shell.write_text('#!/bin/bash\necho "overlaid"\nexec /bin/bash "$@"\n')
    shell.chmod(0o755)
    text = CONFIG.replace(
        "  - runs: |", '  - runs: "echo cpus $(nproc) $CCACHE_DIR"\n  - runs: |', 1
    )
    cache = ["--cache-dir", tmp_path / "cache"]
    result = run(text, "--overlay-binsh", shell, "--cpu", "0.5", *cache, "--rm=false")
    assert result.exit_code == 0, result.output
    assert "overlaid" in result.stderr
    assert "cpus 1 /var/cache/melange/ccache" in result.stderr
    (kept,) = re.findall("the workspace is (.*), and stays", result.stderr)
    assert (Path(kept) / "home/melange-out/hello").is_dir()
    shutil.rmtree(kept)


def test_a_shell_where_a_step_failed(run, tmp_path, repository):
    text = CONFIG.replace("      cp words.txt", "      echo left >here; false; cp words.txt")
    assert run(text).exit_code != 0  # writes the configuration; nobody is there to type
    (key,) = repository.glob("*.rsa.pub")
    program = "from plimsoll.cli.main import cli; cli()"
    command = [sys.executable, "-c", program, "package", "build", tmp_path / "hello.yaml", "-i"]
    command += ["--arch", "amd64", "-r", repository, "-k", key, "--out-dir", tmp_path / "out"]
    command += ["--pipeline-dir", tmp_path / "pipelines"]
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [str(word) for word in command],
        stdin=theirs, stdout=theirs, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        os.close(theirs)
        os.write(ours, b'echo "found $(cat here) $HOME $((6 * 7))"\nexit\n')
        _, errors = process.communicate(timeout=120)
    shown = os.read(ours, 1 << 16).decode()
    os.close(ours)
    assert process.returncode == 1
    assert "a shell in the guest" in errors
    assert "found left /home/build 42" in shown + errors


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--memory", "4Gi"], "systemd-run"),
        (["--cpumodel", "any"], "the processor that is here"),
        (["--runner", "kubernetes"], "a PackageRepo names"),
        (["--runner", "nonsense"], "is not one of 'bubblewrap', 'host'"),
        (["--cache-source", "/"], "needs --cache-dir"),
        (["--timeout", "soon"], "is no duration"),
    ],
)
def test_options_that_are_refused(run, words, said):
    result = run(CONFIG, *words)
    assert result.exit_code != 0
    assert said in " ".join(result.output.split())


def test_secrets_of_steps_do_not_reach_the_package(run, tmp_path):
    variables = tmp_path / "env"
    variables.write_text("# mine\nMY_TOKEN='s3cret'\n")
    text = CONFIG.replace(
        "  - runs: |\n      mkdir", '  - runs: |\n      [ "$MY_TOKEN" = s3cret ]\n      mkdir', 1
    )
    result = run(text, "--env-file", variables)
    assert result.exit_code == 0, result.output
    unpacked = subprocess.run(
        ["gzip", "-dc", tmp_path / "out/x86_64/hello-1.0.0-r1.apk"], capture_output=True, check=True
    ).stdout
    assert b"s3cret" in unpacked  # the script itself names it: what a step says is public
    variables.write_text("MY_TOKEN=other\n")
    quiet = CONFIG.replace(
        "  - runs: |\n      mkdir", '  - runs: |\n      [ -n "$MY_TOKEN" ]\n      mkdir', 1
    )
    assert run(quiet, "--env-file", variables, out="quiet").exit_code == 0
    unpacked = subprocess.run(
        ["gzip", "-dc", tmp_path / "quiet/x86_64/hello-1.0.0-r1.apk"],
        capture_output=True, check=True,
    ).stdout  # fmt: skip
    assert b"other" not in unpacked


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("/usr/bin/hello, add", "/usr/bin/none, add"), "there is no file /usr/bin/none"),
        (("cap_net_raw: +ep", "cap_wrong: +ep"), "there is no capability 'cap_wrong'"),
        (("      cp words.txt", DEVICE), "dev (error): dev/words.txt"),
        (("version: 1.0.0", "version: 1.0.0_b6"), "1.0.0_b6"),
        (("[bash, coreutils, findutils]", "[bash, nonsense]"), "nonsense"),
        (
            ("[bash, coreutils, findutils]", "[dash, coreutils]"),
            "has no shell that knows 'pipefail'",
        ),
    ],
)
def test_what_cannot_be_built(run, tmp_path, change, said):
    result = run(CONFIG.replace(*change))
    assert isinstance(result.exception, Error), result.output
    assert said in str(result.exception)
    assert not list(tmp_path.glob("out/*/*"))


def test_all_packages_or_none(run, tmp_path):
    assert run(CONFIG).exit_code == 0
    before = {path: path.read_bytes() for path in (tmp_path / "out/x86_64").iterdir()}
    step = "mkdir -p ${{targets.contextdir}}/dev; echo x >${{targets.contextdir}}/dev/null"
    text = CONFIG.replace("{uses: manpages}", f"{{uses: manpages}}, {{runs: '{step}'}}")
    result = run(text.replace("says hello", "says more"))
    assert "hello-doc must not be published" in str(result.exception)
    assert {path: path.read_bytes() for path in (tmp_path / "out/x86_64").iterdir()} == before


@pytest.mark.parametrize("replaced", ["${{targets.destdir}}", "${{targets.outdir}}"])
def test_no_link_leads_a_package_to_files_of_this_machine(run, tmp_path, replaced):
    (tmp_path / "mine/hello").mkdir(parents=True)
    (tmp_path / "mine/hello/secret").write_text("mine")
    link = f"  - runs: rm -rf {replaced}; ln -s {tmp_path}/mine/hello {replaced}\n"
    result = run(CONFIG.replace("subpackages:", f"{link}subpackages:"))
    assert isinstance(result.exception, Error), result.output
    assert "in the place of the directory" in str(result.exception) or "failed" in str(
        result.exception
    )
    assert not list(tmp_path.glob("out/*/*"))
    assert [path.name for path in (tmp_path / "mine").rglob("*")] == ["hello", "secret"]


def test_time_is_limited(run):
    text = CONFIG.replace("      mkdir -p", "      sleep 600\n      mkdir -p", 1)
    result = run(text, "--timeout", "1")
    assert "took longer than 1 s" in str(result.exception)


def test_on_this_machine(run, tmp_path):
    result = run(CONFIG, "--runner", "host")
    assert result.exit_code == 0, result.output
    assert "WARNING: steps run on this machine" in result.stderr
    assert verify_package(tmp_path / "out/x86_64/hello-1.0.0-r1.apk", checksum=None)


TESTS = """\
test:
  environment: {contents: {packages: [coreutils]}}
  pipeline:
    - name: it greets
      runs: |
        [ "$(hello)" = hello ]
        [ ! -e /usr/share/man/man1/hello.1 ]
        [ "$(cat words.txt)" = words ]
"""


def test_tests_run_with_exactly_what_was_built(run, repository, tmp_path):
    key, _ = _key(tmp_path)
    text = CONFIG.replace("test: {pipeline: [{runs: hello}]}\n", TESTS)
    (base_key,) = repository.glob("*.rsa.pub")

    def check(*words):
        command = ["package", "test", tmp_path / "hello.yaml", "--arch", "amd64"]
        command += ["--pipeline-dir", tmp_path / "pipelines", "-r", repository, "-k", base_key]
        command += ["-r", tmp_path / "out", "-k", f"{key}.pub", *words]
        return CliRunner().invoke(cli, [str(word) for word in command])

    assert run(text.replace("epoch: 1", "epoch: 2"), "--signing-key", key).exit_code == 0
    assert run(text, "--signing-key", key).exit_code == 0
    result = check("--record", tmp_path / "record")
    assert result.exit_code == 0, result.output
    assert result.stdout == "hello-1.0.0-r1\n"
    assert "WARNING: hello-doc has no test" in result.stderr
    lock = json.loads((tmp_path / "record/hello.lock.json").read_text())
    versions = {p["name"]: p["version"] for p in lock["contents"]["packages"]}
    assert versions["hello"] == "1.0.0-r1"
    assert "hello-doc" not in versions

    assert "no test: hello-doc" in str(check("--require-tests").exception)
    assert "has no package 'nothing'" in str(check("nothing").exception)
    (tmp_path / "hello.yaml").write_text(text.replace("= hello ]", "= goodbye ]"))
    assert "the step 'it greets' failed" in str(check().exception)
    (tmp_path / "hello.yaml").write_text(text.replace("epoch: 1", "epoch: 9"))
    assert "1.0.0-r9" in str(check().exception)
