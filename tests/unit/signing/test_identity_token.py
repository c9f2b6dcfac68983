import base64
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.signing.errors import IdentityTokenError
from plimsoll.signing.identitytoken import IdentityToken, find_token

CI = ("GITHUB_ACTIONS", "GITLAB_CI", "BUILDKITE", "CIRCLECI", "GOOGLE_SERVICE_ACCOUNT_NAME")


def jwt(lifetime=60, **claims):
    body = {"exp": int(time.time()) + lifetime, "aud": "sigstore"} | claims
    encoded = base64.urlsafe_b64encode(json.dumps(body).encode()).rstrip(b"=").decode()
    return f"eyJhbGciOiJub25lIn0.{encoded}.c2VjcmV0"


@pytest.fixture(autouse=True)
def nowhere(monkeypatch):
    for name in CI:
        monkeypatch.delenv(name, raising=False)


async def test_where_tokens_are_found(tmp_path, monkeypatch):
    given_, mounted, none = tmp_path / "given", tmp_path / "mounted", tmp_path / "none"
    given_.write_text(jwt(n=1) + "\n")
    mounted.write_text(jwt(n=2))
    variable = {"SIGSTORE_ID_TOKEN": jwt(n=3)}
    found = await find_token(given_, environ=variable, mounted=mounted)
    assert found.secret == given_.read_text().strip()
    found = await find_token(environ=variable, mounted=mounted)
    assert found.secret == variable["SIGSTORE_ID_TOKEN"]
    found = await find_token(environ={}, mounted=mounted)
    assert found.secret == mounted.read_text()
    with pytest.raises(IdentityTokenError, match="there is no OIDC token") as failure:
        await find_token(environ={}, mounted=none)
    assert "id-token: write" in failure.value.hint

    monkeypatch.setenv("GITLAB_CI", "true")
    monkeypatch.setenv("SIGSTORE_ID_TOKEN", variable["SIGSTORE_ID_TOKEN"])
    assert (await find_token(environ={}, mounted=none)).secret == variable["SIGSTORE_ID_TOKEN"]
    monkeypatch.setenv("SIGSTORE_ID_TOKEN", jwt(aud="other"))
    with pytest.raises(IdentityTokenError, match="the CI system gave no OIDC token"):
        await find_token(environ={}, mounted=none)
    monkeypatch.delenv("GITLAB_CI")
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    with pytest.raises(IdentityTokenError, match="may not ask for OIDC tokens"):
        await find_token(environ={}, mounted=none)


async def test_files_that_hold_none(tmp_path):
    with pytest.raises(IdentityTokenError, match="cannot be read"):
        await find_token(tmp_path / "none")
    (tmp_path / "large").write_bytes(b"a" * (1 << 20))
    with pytest.raises(IdentityTokenError, match="longer"):
        await find_token(tmp_path / "large")


def test_a_token_is_never_shown():
    token = jwt()
    assert token not in repr(IdentityToken.parse(token, source="it"))
    expired = jwt(lifetime=-1)
    with pytest.raises(IdentityTokenError, match="has expired") as failure:
        IdentityToken.parse(expired, source="it")
    assert expired.split(".")[1] not in f"{failure.value} {failure.value.hint}"


@given(st.text() | st.binary().map(lambda b: f"a.{base64.urlsafe_b64encode(b).decode()}.b"))
def test_nonsense_is_refused(text):
    with pytest.raises(IdentityTokenError):
        IdentityToken.parse(text, source="it")
