from __future__ import annotations

import asyncio
import base64
import json
import os
import time

import pytest

from plimsoll.oci import auth
from plimsoll.oci.auth import Credentials
from plimsoll.oci.errors import InvalidDockerConfigError
from plimsoll.oci.reference import Reference


def encoded(user: str, password: str) -> str:
    return base64.b64encode(f"{user}:{password}".encode()).decode()


def config(**entries) -> Credentials:
    auths = {key: {"auth": encoded(user, "pw")} for key, user in entries.items()}
    return Credentials.from_bytes(json.dumps({"auths": auths}).encode(), "test")


async def users(credentials: Credentials, text: str) -> list[str]:
    return [login.username for login in await credentials.logins(Reference.parse(text))]


@pytest.mark.parametrize(
    ("key", "image", "fits"),
    [
        ("https://index.docker.io/v1/", "nginx", True),
        ("docker.io", "nginx", True),
        ("https://registry-1.docker.io", "nginx", True),
        ("index.docker.io", "a.b/nginx", False),
        ("a.b", "a.b/c", True),
        ("https://a.b/v2/", "a.b/c", True),
        ("A.B", "a.b/c", True),
        ("a.b:5000", "a.b:5000/c", True),
        ("a.b", "a.b:5000/c", False),
        ("a.b:5000", "a.b/c", False),
        ("a.b", "x.a.b/c", False),
        ("a.b", "a.bc/d", False),
        ("a.b", "a.b.evil.example/d", False),
        ("*.a.b", "x.a.b/c", True),
        ("*.a.b", "a.b/c", False),
        ("*.a.b", "y.x.a.b/c", False),
        ("r*.a.b", "reg.a.b/c", True),
        ("*", "a.b/c", False),
        ("a.b/team", "a.b/team/app", True),
        ("a.b/team", "a.b/team", True),
        ("a.b/team", "a.b/teams/app", False),
        ("a.b/team", "a.b/other/app", False),
        ("a.b/v1/team", "a.b/team/app", True),
    ],
)
async def test_credentials_go_to_their_registry_only(key, image, fits):
    assert await users(config(**{key: "me"}), image) == (["me"] if fits else [])


async def test_the_closest_entry_comes_first():
    several = config(**{"*.b": "glob", "a.b": "host", "a.b/team": "team", "a.b/team/x": "deep"})
    assert await users(several, "a.b/team/x/app") == ["deep", "team", "host", "glob"]
    merged = Credentials.merged(config(**{"a.b": "first"}), config(**{"a.b": "second"}))
    assert await users(merged, "a.b/c") == ["first", "second"]


async def test_every_form_of_an_entry_is_read():
    payload = {
        "auths": {
            "a.a": {"username": "u", "password": "p"},
            "b.b": {"auth": encoded("u", "p:with:colons")},
            "c.c": {"auth": encoded("u", "x"), "identitytoken": "idt"},
            "d.d": {"registrytoken": "regt"},
            "e.e": {},
            "f.f": {"auth": encoded("u", "p\0\0")},
        }
    }
    read = Credentials.from_bytes(json.dumps(payload).encode(), "test")
    found = {}
    for host in "abcdef":
        logins = await read.logins(Reference.parse(f"{host}.{host}/x"))
        found[host] = logins[0] if logins else None
    assert (found["a"].username, found["a"].password) == ("u", "p")
    assert found["b"].password == "p:with:colons"
    assert found["c"].identity_token == "idt"
    assert found["d"].registry_token == "regt"
    assert found["e"] is None
    assert found["f"].password == "p"


async def test_the_older_secret_form_is_read():
    payload = {"https://a.b": {"auth": encoded("me", "pw"), "email": "x"}}
    assert await users(Credentials.from_bytes(json.dumps(payload).encode(), "s"), "a.b/c") == ["me"]
    assert await users(Credentials.from_bytes(b"{}", "s"), "a.b/c") == []
    assert await users(Credentials.from_bytes(b'{"HttpHeaders":{"a":"b"}}', "s"), "a.b/c") == []


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"not json s3cret",
        b"[]",
        b'{"auths":[]}',
        b'{"auths":{"a.b":"s3cret"}}',
        b'{"auths":{"a.b":{"auth":"s3cret!"}}}',
        b'{"auths":{"a.b":{"auth":"' + base64.b64encode(b"s3cret") + b'"}}}',
        b'{"auths":{"a.b":{"auth":"' + base64.b64encode(b"\xff\xfe:s3cret") + b'"}}}',
        b'{"auths":{"a.b":{}},"auths":{}}',
    ],
)
def test_bad_secrets_are_named_but_not_shown(payload):
    with pytest.raises(InvalidDockerConfigError) as caught:
        Credentials.from_bytes(payload, "secret team/pull")
    assert "secret team/pull" in caught.value.message
    assert "s3cret" not in str(caught.value)


async def test_secrets_do_not_show_in_reprs():
    credentials = config(**{"a.b": "me"})
    logins = await credentials.logins(Reference.parse("a.b/c"))
    assert "pw" not in f"{credentials!r} {logins!r}"


def test_files_are_found_and_faults_told(tmp_path):
    home = tmp_path / "home"
    (home / ".docker").mkdir(parents=True)
    assert Credentials.default({"HOME": str(home)}).sources == []
    (home / ".docker" / "config.json").write_text("{}")
    podman = tmp_path / "run" / "containers" / "auth.json"
    podman.parent.mkdir(parents=True)
    podman.write_text("{}")
    found = Credentials.default({"HOME": str(home), "XDG_RUNTIME_DIR": str(tmp_path / "run")})
    assert found.sources == [str(home / ".docker" / "config.json"), str(podman)]
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.json").write_text("{")
    with pytest.raises(InvalidDockerConfigError, match=str(other)):
        Credentials.default({"HOME": str(home), "DOCKER_CONFIG": str(other)})
    with pytest.raises(InvalidDockerConfigError, match="Is a directory"):
        Credentials.from_file(other)


@pytest.fixture
def helper(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    def write(script: str, **settings) -> Credentials:
        program = tmp_path / "docker-credential-test"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        path = tmp_path / "config.json"
        path.write_text(json.dumps(settings or {"credsStore": "test"}))
        return Credentials.from_file(path)

    return write


async def test_a_store_is_asked_under_the_name_docker_uses(helper):
    answer = '{"ServerURL":"x","Username":"'
    credentials = helper(
        f'read -r key || true; printf \'%s%s"\' \'{answer}\' "$key"; printf \',"Secret":"s"}}\''
    )
    assert await users(credentials, "nginx") == ["https://index.docker.io/v1/"]
    assert await users(credentials, "a.b:5000/c") == ["a.b:5000"]


async def test_a_helper_with_an_identity_token(helper):
    credentials = helper("""echo '{"Username":"<token>","Secret":"idt"}'""")
    (login,) = await credentials.logins(Reference.parse("a.b/c"))
    assert login.identity_token == "idt"


async def test_an_entry_wins_over_the_store_and_a_helper_is_for_its_host(helper):
    settings = {"auths": {"a.b": {"auth": encoded("me", "pw")}}, "credHelpers": {"c.d": "test"}}
    credentials = helper("""echo '{"Username":"helped","Secret":"s"}'""", **settings)
    assert await users(credentials, "a.b/x") == ["me"]
    assert await users(credentials, "c.d/x") == ["helped"]
    assert await users(credentials, "e.f/x") == []


async def test_a_helper_that_knows_nothing_is_no_error(helper):
    assert (
        await users(helper("echo credentials not found in native keychain; exit 1"), "a.b/c") == []
    )


@pytest.mark.parametrize(
    ("script", "says"),
    [("exit 3", "exit status 3"), ("echo nonsense", "no credentials"), ("echo '[]'", "no cred")],
)
async def test_a_helper_that_fails_is_told(helper, script, says):
    with pytest.raises(InvalidDockerConfigError, match=says):
        await users(helper(script), "a.b/c")


async def test_a_helper_that_hangs_is_ended(helper, monkeypatch):
    monkeypatch.setattr(auth, "_HELPER_TIMEOUT", 0.2)
    start = time.monotonic()
    with pytest.raises(InvalidDockerConfigError, match="no answer"):
        await users(helper("exec sleep 60"), "a.b/c")
    assert time.monotonic() - start < 10


async def test_a_helper_that_is_missing_or_no_name(helper):
    for name in ("missing-one", "../../bin/sh", "a b", ""):
        credentials = helper("exit 0", credHelpers={"a.b": name})
        if name:
            with pytest.raises(InvalidDockerConfigError, match="credential helper"):
                await users(credentials, "a.b/c")


async def test_a_pull_secret_never_runs_a_program(helper, tmp_path):
    helper(f"touch {tmp_path}/ran; exit 1")
    payload = b'{"credsStore":"test","credHelpers":{"a.b":"test"}}'
    assert await users(Credentials.from_bytes(payload, "secret"), "a.b/c") == []
    assert not await asyncio.to_thread((tmp_path / "ran").exists)
