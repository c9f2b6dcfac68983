from datetime import UTC, datetime, timedelta

import pytest
from aiohttp import web

from plimsoll.api.meta import REQUESTED_AT, find_condition
from plimsoll.api.packagerepo import PackageRepo
from plimsoll.apk.index import IndexEntry
from plimsoll.apk.keys import SigningKey
from plimsoll.apk.writer import write_index
from plimsoll.errors import Error
from plimsoll.http import NO_RETRY, Http
from plimsoll.operator.faults import Fault, stalled
from plimsoll.operator.follow import Finding, Inspector, due, summarize

NOW = datetime(2026, 11, 21, 6, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
GOOD = [Finding("amd64", "sha256:1", 3), Finding("arm64", "sha256:2", 3)]


class PassingError(Error):
    retryable = True
    reason = "Unreachable"


class LastingError(Error):
    reason = "IndexVerificationFailed"


def repo(url="https://p.example/os", generation=1, status=None, annotations=None, **upstream):
    keys = [{"name": "k.rsa.pub", "data": "PEM"}]
    return PackageRepo.model_validate(
        {
            "metadata": {
                "name": "r",
                "generation": generation,
                "annotations": annotations or {},
            },
            "spec": {"upstream": {"url": url, "keys": keys, **upstream}},
            "status": status.model_dump() if status else {},
        }
    )


def truth(status, kind):
    found = find_condition(status.conditions, kind)
    return found.status, found.reason


def test_verified():
    outcome = summarize(repo(), GOOD, NOW)
    status = outcome.status
    assert truth(status, "Ready") == ("True", "Verified")
    assert truth(status, "IndexVerified") == ("True", "Verified")
    assert (status.packages, status.observed_generation) == (6, 1)
    assert [event.reason for event in outcome.events] == ["IndexChanged"]


def test_after_a_fault_of_the_operator_it_looks_at_once():
    first = summarize(repo(), GOOD, NOW).status
    assert due(repo(status=first), NOW) > timedelta()
    for generation in (1, 2):
        fault = Fault("InternalError", "TypeError: no")
        said = stalled(first.conditions, first.observed_generation, fault, generation, NOW)
        update = {"conditions": said, "observed_generation": generation}
        told = repo(status=first.model_copy(update=update), generation=generation)
        assert due(told, NOW) == timedelta()
        assert truth(summarize(told, GOOD, LATER).status, "Stalled")[0] == "False"


def test_the_same_index_is_no_news():
    first = summarize(repo(), GOOD, NOW).status
    outcome = summarize(repo(status=first), GOOD, LATER)
    assert outcome.events == ()
    assert outcome.status.indexes == first.indexes
    assert outcome.status.last_checked == LATER
    changed = [Finding("amd64", "sha256:9", 4), GOOD[1]]
    outcome = summarize(repo(status=first), changed, LATER)
    assert [event.reason for event in outcome.events] == ["IndexChanged"]
    assert outcome.status.indexes[0].verified_at == LATER
    assert outcome.status.indexes[1].verified_at == NOW


def test_a_wrong_signature_makes_it_not_ready_and_keeps_what_was_verified():
    first = summarize(repo(), GOOD, NOW).status
    bad = [Finding("amd64", error=LastingError("wrong signature", hint="do not use it")), GOOD[1]]
    outcome = summarize(repo(status=first), bad, LATER)
    assert truth(outcome.status, "Ready") == ("False", "IndexVerificationFailed")
    assert truth(outcome.status, "IndexVerified")[0] == "False"
    assert truth(outcome.status, "Stalled")[0] == "True"
    assert outcome.status.indexes == first.indexes
    assert outcome.events[0].type == "Warning"
    assert "do not use it" in outcome.events[0].message
    again = summarize(repo(status=outcome.status), bad, LATER)
    assert again.events == ()


def test_out_of_reach_leaves_it_ready():
    first = summarize(repo(), GOOD, NOW).status
    away = [Finding("amd64", error=PassingError("no connection")), GOOD[1]]
    status = summarize(repo(status=first), away, LATER).status
    assert truth(status, "Ready") == ("True", "Verified")
    assert truth(status, "IndexVerified") == ("Unknown", "Unreachable")
    assert truth(status, "Reconciling") == ("True", "Retrying")
    assert due(repo(status=status), LATER) == timedelta(seconds=30)


def test_out_of_reach_from_the_start_is_not_ready():
    away = [Finding("amd64", error=PassingError("no connection"))]
    status = summarize(repo(), away, NOW).status
    assert truth(status, "Ready") == ("False", "Unreachable")
    assert status.packages is None


def test_a_changed_spec_forgets_what_was_verified():
    first = summarize(repo(), GOOD, NOW).status
    away = [Finding("amd64", error=PassingError("no connection"))]
    status = summarize(repo(generation=2, status=first), away, LATER).status
    assert truth(status, "Ready")[0] == "False"
    assert status.indexes == []


def test_when_to_look():
    assert due(repo(), NOW) == timedelta()
    status = summarize(repo(), GOOD, NOW).status
    assert due(repo(status=status), NOW) == timedelta(minutes=10)
    assert due(repo(status=status, refreshInterval="1s"), NOW) == timedelta(seconds=10)
    assert due(repo(status=status), LATER) == timedelta()
    assert due(repo(status=status, generation=2), NOW) == timedelta()
    assert due(repo(status=status, annotations={REQUESTED_AT: "x"}), NOW) == timedelta()


@pytest.fixture(scope="module")
def key():
    return SigningKey.generate("k.rsa.pub", bits=2048)


@pytest.fixture
async def server(key):
    """An APK repository; ``answers`` counts what was asked and sent."""
    state = {"index": write_index([IndexEntry("a", "1-r0")], "t", key), "sent": 0, "status": 200}

    async def index(request):
        if state["status"] != 200:
            return web.Response(status=state["status"])
        tag = f'"{hash(state["index"])}"'
        if request.headers.get("If-None-Match") == tag:
            return web.Response(status=304, headers={"ETag": tag})
        state["sent"] += 1
        return web.Response(body=state["index"], headers={"ETag": tag})

    async def public_key(_):
        return web.Response(body=key.public_pem())

    app = web.Application()
    app.add_routes(
        [web.get("/os/{arch}/APKINDEX.tar.gz", index), web.get("/k.rsa.pub", public_key)]
    )
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    state["url"] = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield state
    await runner.cleanup()


@pytest.fixture
async def inspector():
    trusted = frozenset({"127.0.0.1"})
    async with Http(allow_private=False, trusted_hosts=trusted, retry=NO_RETRY) as http:
        yield Inspector(http)


def served(server, key, **fields):
    keys = [{"name": "k.rsa.pub", "data": key.public_pem().decode()}]
    return repo(f"{server['url']}/os", **{"keys": keys, "archs": ["amd64"], **fields})


async def test_a_signed_index_is_verified_and_not_fetched_again(server, inspector, key):
    (first,) = await inspector.inspect(served(server, key))
    assert first.error is None
    assert (first.arch, first.packages) == ("amd64", 1)
    assert await inspector.inspect(served(server, key)) == [first]
    assert server["sent"] == 1


async def test_what_one_key_verified_is_not_shown_to_another(server, inspector, key):
    await inspector.inspect(served(server, key))
    other = SigningKey.generate("k.rsa.pub", bits=2048)
    (found,) = await inspector.inspect(served(server, other))
    assert found.error.reason == "IndexVerificationFailed"
    assert not found.error.retryable


@pytest.mark.parametrize(
    ("status", "retryable"), [(404, False), (403, False), (500, True), (429, True)]
)
async def test_refusals(server, inspector, key, status, retryable):
    server["status"] = status
    (found,) = await inspector.inspect(served(server, key))
    assert found.error.retryable is retryable
    assert str(status) in str(found.error)


async def test_what_is_no_index(server, inspector, key):
    server["index"] = b"<html>not here</html>"
    (found,) = await inspector.inspect(served(server, key))
    assert "no index" in str(found.error)


async def test_an_unsigned_index(server, inspector, key):
    server["index"] = write_index([], "t")
    (found,) = await inspector.inspect(served(server, key))
    assert "not signed" in str(found.error)


async def test_a_wrong_key_or_architecture_names_itself(server, inspector, key):
    keys = [{"name": "k.rsa.pub", "data": "no PEM"}]
    (found,) = await inspector.inspect(served(server, key, keys=keys))
    assert "k.rsa.pub" in str(found.error)
    (found,) = await inspector.inspect(served(server, key, archs=["amd46"]))
    assert "did you mean" in str(found.error)


async def test_addresses_of_this_machine_are_refused(server, key):
    async with Http(allow_private=False, retry=NO_RETRY) as http:
        (found,) = await Inspector(http).inspect(served(server, key))
    assert found.error is not None
    assert server["sent"] == 0
