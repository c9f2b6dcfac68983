"""Our verdicts on signatures of Git beside those of ssh-keygen, gpg and public gitsign commits."""

from __future__ import annotations

import os
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from git_server import commit, git, make_repository
from plimsoll.api.gitsource import RequireSigned
from plimsoll.builder.git.errors import NotSignedError
from plimsoll.builder.git.objects import object_id, parse_object
from plimsoll.builder.git.signers import Signers, require
from shared_data import shared

pytestmark = pytest.mark.integration

SIGNED = Path(__file__).parents[1] / "support" / "signed_objects"
BILLY = {"issuer": "https://accounts.google.com", "subject": "billy@chainguard.dev"}


def run(*command, data=b"", check=True, env=None):
    done = subprocess.run(
        command, input=data, capture_output=True, check=False, env={**os.environ, **(env or {})}
    )
    assert not check or done.returncode == 0, done.stderr.decode()
    return done


def key(folder, name, kind="ed25519", *options):
    path = folder / name
    run("ssh-keygen", "-q", "-t", kind, *options, "-N", "", "-C", name, "-f", str(path))
    return path


def signed_commit(folder, path, *, date=""):
    """A commit signed by an SSH key, and its bytes."""
    make_repository(folder, ("gpg.format", "ssh"), ("user.signingkey", str(path)))
    (folder / "x").write_text("y")
    git(folder, "add", ".")
    env = {"GIT_COMMITTER_DATE": date} if date else {}
    git(folder, "commit", "-q", "-S", "-m", "m", env=env)
    number = git(folder, "rev-parse", "HEAD")
    return parse_object(
        "commit", (git(folder, "cat-file", "commit", number) + "\n").encode(), number
    )


def theirs(folder, signed, allowed):
    """What git says, with ssh-keygen, of the same commit."""
    file = folder / "allowed"
    file.write_text(allowed)
    command = ["git", "-C", str(folder), "-c", f"gpg.ssh.allowedSignersFile={file}"]
    done = run(*command, "verify-commit", signed.id, check=False, env={"TZ": "UTC"})
    return done.returncode == 0


def ours(signed, allowed):
    signers = Signers.of(RequireSigned.model_validate({"allowedSigners": allowed}))
    try:
        return require(signers, signed, None, "").name
    except NotSignedError:
        return ""


@pytest.mark.parametrize(
    "kind",
    [("ed25519",), ("rsa", "-b", "2048"), ("rsa", "-b", "4096")]
    + [("ecdsa", "-b", size) for size in ("256", "384", "521")],
    ids="-".join,
)
def test_kinds_of_keys(tmp_path, kind):
    path = key(tmp_path, "ada", *kind)
    signed = signed_commit(tmp_path / "repo", path)
    line = f"ada@example.org {path.with_suffix('.pub').read_text()}"
    assert theirs(tmp_path / "repo", signed, line)
    assert ours(signed, line) == "ada@example.org"


@pytest.mark.parametrize(
    ("options", "date", "good"),
    [
        ("", "", True),
        ('namespaces="git"', "", True),
        ('namespaces="file"', "", False),
        ('namespaces="f*,g?t"', "", True),
        ('valid-before="20200101"', "", False),
        ('valid-before="20200101Z"', "2019-12-31T23:59:59Z", True),
        ('valid-before="20200101Z"', "2020-01-01T00:00:01Z", False),
        ('valid-after="20300101"', "", False),
        ('valid-after="20250101Z",valid-before="20270101Z"', "2026-06-01T00:00:00Z", True),
        ("cert-authority", "", False),
    ],
)
def test_options_of_allowed_signers(tmp_path, options, date, good):
    path = key(tmp_path, "ada")
    signed = signed_commit(tmp_path / "repo", path, date=date)
    line = f"ada@example.org {options} {path.with_suffix('.pub').read_text()}"
    assert theirs(tmp_path / "repo", signed, line) == good
    assert bool(ours(signed, line)) == good


@pytest.mark.parametrize(
    ("principals", "certificate", "good"),
    [
        ("ada@example.org", ["-n", "ada@example.org"], True),
        ("*@example.org", ["-n", "other,ada@example.org"], True),
        ("*@example.org,!ada@*", ["-n", "ada@example.org"], False),
        ("eve@example.org", ["-n", "ada@example.org"], False),
        ("*@example.org", ["-n", "ada@example.org", "-V", "20200101:20200201"], False),
        ("*@example.org", ["-n", "ada@example.org", "-h"], False),
    ],
)
def test_certificates(tmp_path, principals, certificate, good):
    authority, path = key(tmp_path, "ca"), key(tmp_path, "ada")
    public = path.with_suffix(".pub")
    run("ssh-keygen", "-q", "-s", str(authority), "-I", "id", *certificate, str(public))
    signed = signed_commit(tmp_path / "repo", tmp_path / "ada-cert.pub")
    line = f"{principals} cert-authority {authority.with_suffix('.pub').read_text()}"
    assert theirs(tmp_path / "repo", signed, line) == good
    assert ours(signed, line) == ("ada@example.org" if good else "")


class Gpg:
    """A key ring of gpg."""

    def __init__(self, home):
        home.mkdir(mode=0o700)
        self.home = home

    def __call__(self, *arguments):
        options = ["--batch", "--yes", "--homedir", str(self.home), "--pinentry-mode", "loopback"]
        return run("gpg", *options, "--passphrase", "", *arguments).stdout.decode()

    def close(self):
        run("gpgconf", "--homedir", str(self.home), "--kill", "all", check=False)


@pytest.fixture
def gpg(tmp_path):
    if not shutil.which("gpg"):
        pytest.skip("gpg is not installed")
    found = Gpg(tmp_path / "gnupg")
    yield found
    found.close()


def openpgp_commit(folder, gpg, *options):
    make_repository(folder, ("user.signingkey", "ada@example.org"), *options)
    (folder / "x").write_text("y")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-S", "-m", "m", env={"GNUPGHOME": str(gpg.home)})
    number = git(folder, "rev-parse", "HEAD")
    return parse_object(
        "commit", (git(folder, "cat-file", "commit", number) + "\n").encode(), number
    )


def openpgp_signers(gpg):
    exported = gpg("--armor", "--export", "ada@example.org")
    people = [{"name": "Ada", "openpgpKeys": exported}]
    return Signers.of(RequireSigned.model_validate({"people": people}))


@pytest.mark.parametrize("kind", ["ed25519", "rsa3072"])
def test_openpgp_keys(tmp_path, gpg, kind):
    gpg("--quick-gen-key", "Ada <ada@example.org>", kind, "sign", "1y")
    signed = openpgp_commit(tmp_path / "repo", gpg)
    found = require(openpgp_signers(gpg), signed, None, "")
    assert (found.name, found.signature) == ("Ada", "openpgp")
    changed = bytes(signed.payload).replace(b"\nm\n", b"\nn\n")
    forged = type(signed)(
        *("commit", signed.id, signed.target, "", signed.time, changed, signed.signature)
    )
    with pytest.raises(NotSignedError):
        require(openpgp_signers(gpg), forged, None, "")


def test_an_expired_openpgp_key(tmp_path, gpg):
    """A key that had expired when it signed; gpg itself signs nothing with it."""
    early = tmp_path / "early"
    early.write_text('#!/bin/sh\nexec gpg --faked-system-time 20200110T000000! "$@"\n')
    early.chmod(0o755)
    generate = ["--faked-system-time", "20200101T000000!", "--quick-gen-key"]
    gpg(*generate, "Ada <ada@example.org>", "ed25519", "sign", "seconds=2000000")
    signed = openpgp_commit(tmp_path / "repo", gpg, ("gpg.program", str(early)))
    assert require(openpgp_signers(gpg), signed, None, "").name == "Ada"
    late = tmp_path / "late"
    late.write_text('#!/bin/sh\nexec gpg --faked-system-time 20200301T000000! "$@"\n')
    gpg("--faked-system-time", "20200110T000000!", "--quick-set-expire", fingerprint(gpg), "0")
    late.chmod(0o755)
    signed = openpgp_commit(tmp_path / "other", gpg, ("gpg.program", str(late)))
    assert require(openpgp_signers(gpg), signed, None, "").name == "Ada"
    gpg("--faked-system-time", "20200111T000000!", "--quick-set-expire", fingerprint(gpg), "10d")
    with pytest.raises(NotSignedError, match="nobody who may sign"):
        require(openpgp_signers(gpg), signed, None, "")


def fingerprint(gpg):
    lines = gpg("--list-keys", "--with-colons").splitlines()
    return next(line.split(":")[9] for line in lines if line.startswith("fpr"))


def test_a_revoked_openpgp_key(tmp_path, gpg):
    gpg("--quick-gen-key", "Ada <ada@example.org>", "ed25519", "sign", "1y")
    signed = openpgp_commit(tmp_path / "repo", gpg)
    assert require(openpgp_signers(gpg), signed, None, "").name == "Ada"
    path = gpg.home / "openpgp-revocs.d" / f"{fingerprint(gpg)}.rev"
    text = path.read_text()
    path.write_text(text[text.index(":-----BEGIN") + 1 :])
    gpg("--import", str(path))
    with pytest.raises(NotSignedError, match="nobody who may sign"):
        require(openpgp_signers(gpg), signed, None, "")


def gitsign(name):
    data = (SIGNED / name).read_bytes()
    return parse_object("commit", data, object_id("commit", data)), data


def keyless(identity=BILLY, root="public-good", **more):
    text = (shared("sigstore") / f"trust/{root}.trusted_root.json").read_text()
    people = [{"name": "Billy", "identities": [identity]}]
    return Signers.of(RequireSigned.model_validate({"people": people, "trustedRoot": text, **more}))


def test_a_public_gitsign_commit():
    signed, _ = gitsign("gitsign-offline.commit")
    found = require(keyless(), signed, None, "")
    assert (found.name, found.signature) == ("Billy", "gitsign")
    assert found.key == "https://accounts.google.com#billy@chainguard.dev"
    pattern = {"issuer": BILLY["issuer"], "subjectRegExp": "^billy@"}
    assert require(keyless(pattern), signed, None, "").name == "Billy"


@pytest.mark.parametrize(
    ("signers", "reason"),
    [
        ({"identity": {**BILLY, "subject": "eve@example.org"}}, "who is not trusted here"),
        ({"identity": {**BILLY, "issuer": "https://evil.example"}}, "who is not trusted here"),
        ({"root": "staging"}, "log that is not trusted"),
    ],
)
def test_gitsign_commits_of_others(signers, reason):
    signed, _ = gitsign("gitsign-offline.commit")
    with pytest.raises(NotSignedError, match=reason):
        require(keyless(**signers), signed, None, "")


def test_a_gitsign_commit_without_its_log_entry():
    signed, _ = gitsign("gitsign-online.commit")
    with pytest.raises(NotSignedError, match="in no trusted transparency log") as caught:
        require(keyless(), signed, None, "")
    assert "gitsign.rekorMode offline" in caught.value.hint


@pytest.mark.parametrize("position", range(0, 2500, 97))
def test_any_changed_byte_of_a_gitsign_commit(position):
    _, data = gitsign("gitsign-offline.commit")
    other = b"B" if data[position : position + 1] == b"A" else b"A"
    changed = data[:position] + other + data[position + 1 :]
    with pytest.raises(Exception) as caught:  # noqa: PT011  (any of ours, see below)
        require(keyless(), parse_object("commit", changed, object_id("commit", changed)), None, "")
    assert type(caught.value).__module__ == "plimsoll.builder.git.errors"


def test_no_identity_is_named():
    signed, _ = gitsign("gitsign-offline.commit")
    allowed = "ada ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGzQ6FrdT7xU7wX6MkeCXbGwDPHLkyHN3r2zHW1VEsPW"
    signers = Signers.of(RequireSigned.model_validate({"allowedSigners": allowed}))
    with pytest.raises(NotSignedError, match="no identity is named"):
        require(signers, signed, None, "")


def test_times_are_read_as_utc(tmp_path):
    signed = signed_commit(tmp_path / "repo", key(tmp_path, "ada"), date="2026-01-02T03:04:05+0200")
    assert signed.time == datetime(2026, 1, 2, 1, 4, 5, tzinfo=UTC)
    assert commit(tmp_path / "repo", "z")
