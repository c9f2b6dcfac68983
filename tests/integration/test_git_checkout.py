"""Files of real repositories over real Git servers, with signatures of real tools."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from git_server import commit, git, git_server, make_repository
from plimsoll.api.gitsource import GitSource, RequireSigned
from plimsoll.builder.git.checkout import checkout, verify_source
from plimsoll.builder.git.credentials import GitCredentials
from plimsoll.builder.git.errors import GitError, NotSignedError
from plimsoll.builder.git.remote import list_refs
from plimsoll.builder.git.signers import Signers
from plimsoll.http import NO_RETRY, AddressRefusedError, Http

pytestmark = pytest.mark.integration


@pytest.fixture
async def server(tmp_path):
    async with git_server(tmp_path / "srv") as found:
        yield found


@pytest.fixture
async def http():
    async with Http(retry=NO_RETRY) as client:
        yield client


def run(*command):
    return subprocess.run(command, capture_output=True, check=True).stdout.decode()


def ssh_key(folder, name):
    path = folder / name
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(path))
    return path


@pytest.fixture
def ada(tmp_path):
    return ssh_key(tmp_path, "ada")


def repository(server, name="project.git", **config):
    pairs = [(key.replace("_", "."), value) for key, value in config.items()]
    return make_repository(server.root / name, *pairs)


def signing(key):
    return {"gpg_format": "ssh", "user_signingkey": str(key)}


def people(key, name="Ada", **more):
    line = key.with_suffix(".pub").read_text()
    return RequireSigned.model_validate({"people": [{"name": name, "sshKeys": [line]}], **more})


async def test_references_of_both_protocols(server, http):
    folder = repository(server)
    first = commit(folder)
    git(folder, "tag", "light")
    git(folder, "tag", "-a", "-m", "m", "v1")
    url = f"{server.url}/project.git"
    found = {}
    for server.protocol in (True, False):
        refs = await list_refs(http, url, ["refs/tags/"])
        found[server.protocol] = refs
        assert [(ref.name, ref.commit) for ref in refs] == [
            ("refs/tags/light", first),
            ("refs/tags/v1", first),
        ]
    assert found[True] == found[False]


@pytest.mark.parametrize("kind", ["text/plain", "application/octet-stream"])
async def test_a_server_that_shows_mere_files(http, tmp_path, kind):
    folder = make_repository(tmp_path / "a.git")
    number = commit(folder)
    git(folder, "tag", "-a", "-m", "m", "v1")
    git(folder, "update-server-info")

    async def answer(request):
        return web.Response(body=(folder / ".git/info/refs").read_bytes(), content_type=kind)

    app = web.Application()
    app.router.add_get("/a.git/info/refs", answer)
    async with TestServer(app) as plain:
        url = str(plain.make_url("/a.git"))
        refs = await list_refs(http, url, ["refs/tags/"])
        assert [(ref.name, ref.commit) for ref in refs] == [("refs/tags/v1", number)]
        with pytest.raises(GitError, match="old protocol"):
            await checkout(http, GitSource(url=url, ref={"tag": "v1"}), tmp_path / "out")


async def test_files_without_history(server, http, tmp_path):
    folder = repository(server)
    commit(folder, "a/config.yaml", "one")
    (folder / "a/link").symlink_to("/etc/passwd")
    git(folder, "add", ".")
    second = commit(folder, "a/config.yaml", "two")
    git(folder, "tag", "v2")
    commit(folder, "a/config.yaml", "three")
    url = f"{server.url}/project.git"
    for ref, text in (({"tag": "v2"}, "two"), ({"commit": second}, "two"), ({}, "three")):
        source = GitSource.model_validate({"url": url, "ref": ref, "path": "a"})
        target = tmp_path / f"out-{text}-{len(ref)}-{'tag' in ref}"
        found = await checkout(http, source, target)
        assert (target / "config.yaml").read_text() == text
        assert not (target / "link").is_symlink()
        assert found.signer is None
        assert (found.commit == second) == (text == "two")


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ({"ref": {"tag": "v9"}}, "has no tag v9"),
        ({"ref": {"branch": "x"}}, "has no branch x"),
        ({"path": "b"}, "the folder 'b'"),
        ({"ref": {"commit": "f" * 40}}, "not our ref"),
    ],
)
async def test_what_is_not_there(server, http, tmp_path, source, reason):
    commit(repository(server))
    url = f"{server.url}/project.git"
    with pytest.raises(GitError, match=reason):
        await checkout(http, GitSource(url=url, **source), tmp_path / "out")


async def test_no_repository(server, http):
    with pytest.raises(GitError, match="no repository"):
        await list_refs(http, f"{server.url}/none.git", ["refs/"])


async def test_an_old_server(server, http, tmp_path):
    commit(repository(server))
    server.protocol = False
    source = GitSource(url=f"{server.url}/project.git")
    with pytest.raises(GitError, match="old protocol"):
        await checkout(http, source, tmp_path / "out")


async def test_credentials_are_for_one_host(server, http, tmp_path):
    commit(repository(server, "private/project.git"))
    server.logins["private"] = "ada:se:cret@"
    url = f"{server.url}/private/project.git"
    with pytest.raises(GitError, match="credentials"):
        await list_refs(http, url, ["refs/"])
    file = tmp_path / ".git-credentials"
    file.write_text(server.url.replace("://", "://ada:se%3Acret%40@") + "\n")
    logins = GitCredentials.read(file)
    assert await list_refs(http, url, ["refs/heads/"], logins)
    await checkout(http, GitSource(url=url), tmp_path / "out", logins)
    assert "cret" not in repr(logins)


async def test_a_redirect_to_another_host_gets_no_credentials(server, http, tmp_path):
    commit(repository(server))
    other = tmp_path / "other"
    async with git_server(server.root) as second:
        server.redirects["moved"] = f"{second.url}"
        file = tmp_path / "netrc"
        file.write_text("machine 127.0.0.1 login ada password secret\n")
        logins = GitCredentials.read(tmp_path / "netrc")
        port = server.url.rpartition(":")[2]
        store = tmp_path / "store"
        store.write_text(f"http://ada:secret@127.0.0.1:{port}\n")
        logins = GitCredentials.read(store)
        url = f"{server.url}/moved/project.git"
        found = await checkout(http, GitSource(url=url), other, logins)
        assert found.commit
        assert all(auth for _, _, auth in server.requests)
        assert second.requests
        assert not any(auth for _, _, auth in second.requests)


async def test_forbidden_addresses_are_not_asked(server):
    commit(repository(server))
    async with Http(retry=NO_RETRY, allow_private=False) as http:
        with pytest.raises(AddressRefusedError):
            await list_refs(http, f"{server.url}/project.git", ["refs/"])
    assert not server.requests


async def test_a_signed_commit(server, http, tmp_path, ada):
    folder = repository(server, **signing(ada))
    number = commit(folder, "x", "y", "-S")
    source = GitSource(url=f"{server.url}/project.git", require_signed=people(ada, object="commit"))
    found = await checkout(http, source, tmp_path / "out")
    signer = found.signer
    assert (signer.name, signer.signature, signer.object) == ("Ada", "ssh", "commit")
    assert signer.commit == signer.id == number
    assert signer.key in run("ssh-keygen", "-lf", f"{ada}.pub")


@pytest.mark.parametrize("case", ["unsigned", "other", "tag wanted", "changed"])
async def test_what_is_not_signed_is_not_written(server, http, tmp_path, ada, case):
    other = ssh_key(tmp_path, "eve")
    folder = repository(server, **signing(other if case == "other" else ada))
    number = commit(folder, "x", "y", *([] if case == "unsigned" else ["-S"]))
    reason = {
        "unsigned": "is not signed",
        "other": "of nobody who may sign",
        "tag wanted": "no annotated tag",
        "changed": "over something else",
    }[case]
    if case == "changed":  # the signature of one tree on a commit of another
        raw = git(folder, "cat-file", "commit", number) + "\n"
        tree = git(folder, "mktree", data="")
        raw = raw.replace(raw.split()[1], tree)
        forged = git(folder, "hash-object", "-t", "commit", "-w", "--stdin", data=raw)
        git(folder, "update-ref", "refs/heads/main", forged)
    required = people(ada, object="tag" if case == "tag wanted" else "any")
    source = GitSource(url=f"{server.url}/project.git", require_signed=required)
    with pytest.raises(NotSignedError, match=reason):
        await checkout(http, source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def step(server, name, tag, expected):
    return {"repository": f"{server.url}/{name}", "tag": tag, "expected-commit": expected}


async def test_a_signed_tag(server, http, ada):
    folder = repository(server, **signing(ada))
    number = commit(folder)
    git(folder, "tag", "-s", "-m", "one", "v1")
    signers = Signers.of(people(ada))
    found = await verify_source(http, step(server, "project.git", "v1", number), signers)
    assert (found.object, found.commit, found.name) == ("tag", number, "Ada")
    tag = git(folder, "rev-parse", "v1")
    assert found.id == tag
    assert (await verify_source(http, step(server, "project.git", "v1", tag), signers)) == found


async def test_a_moved_tag(server, http, ada):
    folder = repository(server, **signing(ada))
    number = commit(folder)
    git(folder, "tag", "-s", "-m", "one", "v1")
    commit(folder, "evil")
    git(folder, "tag", "-s", "-f", "-m", "one", "v1")
    with pytest.raises(GitError, match="the tag was moved"):
        await verify_source(
            http, step(server, "project.git", "v1", number), Signers.of(people(ada))
        )


async def test_a_tag_under_another_name(server, http, ada):
    folder = repository(server, **signing(ada))
    number = commit(folder)
    git(folder, "tag", "-s", "-m", "one", "v1")
    git(folder, "update-ref", "refs/tags/v2", git(folder, "rev-parse", "v1"))
    with pytest.raises(NotSignedError, match="the tag v2 holds the signed tag v1"):
        await verify_source(
            http, step(server, "project.git", "v2", number), Signers.of(people(ada))
        )


async def test_a_tag_of_another_repository(server, http, ada):
    """The same name, the same signer, another project: the commit gives it away."""
    folder = repository(server, **signing(ada))
    number = commit(folder)
    git(folder, "tag", "-s", "-m", "one", "v1")
    other = repository(server, "other.git", **signing(ada))
    commit(other, "other")
    git(other, "tag", "-s", "-m", "one", "v1")
    git(folder, "fetch", "-q", "-f", str(other), "refs/tags/v1:refs/tags/v1")
    with pytest.raises(GitError, match="the tag was moved"):
        await verify_source(
            http, step(server, "project.git", "v1", number), Signers.of(people(ada))
        )


async def test_a_step_without_a_commit(server, http, ada):
    commit(repository(server))
    with pytest.raises(GitError, match="names no expected-commit"):
        await verify_source(http, step(server, "project.git", "v1", ""), Signers.of(people(ada)))


@pytest.mark.skipif(not shutil.which("gpg"), reason="gpg is not installed")
async def test_openpgp(server, http, tmp_path):
    home = tmp_path / "gnupg"
    home.mkdir(mode=0o700)
    env = {"GNUPGHOME": str(home)}

    def gpg(*arguments):
        options = ["--batch", "--homedir", str(home), "--pinentry-mode", "loopback"]
        return run("gpg", *options, "--passphrase", "", *arguments)

    try:
        gpg("--quick-gen-key", "Ada <ada@example.org>", "ed25519", "sign", "1y")
        gpg("--quick-gen-key", "Eve <eve@example.org>", "ed25519", "sign", "1y")
        folder = repository(server, user_signingkey="ada@example.org")
        (folder / "x").write_text("y")
        git(folder, "add", ".")
        git(folder, "commit", "-q", "-S", "-m", "signed", env=env)
        number = git(folder, "rev-parse", "HEAD")
        git(folder, "tag", "-s", "-m", "one", "v1", env=env)
        for name, good in (("ada", True), ("eve", False)):
            key = gpg("--armor", "--export", f"{name}@example.org")
            required = {"people": [{"name": name, "openpgpKeys": key}]}
            for what in ("commit", "tag"):
                signers = Signers.of(RequireSigned.model_validate({**required, "object": what}))
                inputs = step(server, "project.git", "v1", number)
                if good:
                    found = await verify_source(http, inputs, signers)
                    assert (found.name, found.signature, found.object) == (name, "openpgp", what)
                    assert found.key in gpg("--list-keys", "--with-colons").lower()
                else:
                    with pytest.raises(NotSignedError, match="of nobody who may sign"):
                        await verify_source(http, inputs, signers)
    finally:
        run("gpgconf", "--homedir", str(home), "--kill", "all")
