"""What an index holds after a publication: pure."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from plimsoll.apk.tarfmt import Header, Type
from plimsoll.apk.tarwrite import encode_header, padding
from plimsoll.apk.writer import gzip_member, write_index
from plimsoll.builder.steps.packagedecide import newest_first
from plimsoll.builder.steps.packagestate import Abi, Published, Retired, State

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from plimsoll.api.packagerequest import PackageRequest
    from plimsoll.apk.index import IndexEntry
    from plimsoll.apk.keys import SigningKey
    from plimsoll.builder.steps.packagerecord import BuildRecord

#: Retired packages that are remembered; their epochs are not used again.
MAX_RETIRED = 20_000
#: Guests that are remembered for the next builds.
MAX_GUESTS = 64


def expected_signers(request: PackageRequest) -> set[str]:
    """Names of the keys whose signatures an index should have."""
    return set(request.keys)


def leaving(request: PackageRequest, entries: Iterable[IndexEntry]) -> list[IndexEntry]:
    """What must leave an index: withdrawn packages, and versions that are over the number to keep.

    Args:
        request: says which.
        entries: of the index.
    """
    entries = list(entries)
    withdrawn = set(request.withdrawn)
    gone = [
        entry
        for entry in entries
        if {f"{entry.name}={entry.version}", f"{entry.origin}={entry.version}"} & withdrawn
    ]
    keep = request.retention.versions
    if keep is None:
        return gone
    left: dict[str, list[IndexEntry]] = {}
    for entry in entries:
        if entry not in gone:
            left.setdefault(entry.name, []).append(entry)
    for versions in left.values():
        stay = set(newest_first(entry.version for entry in versions)[: max(keep, 1)])
        gone += [entry for entry in versions if entry.version not in stay]
    return gone


def merge(
    request: PackageRequest,
    entries: Iterable[IndexEntry],
    added: Sequence[IndexEntry],
    state: State,
    now: datetime,
) -> tuple[list[IndexEntry], list[IndexEntry], State]:
    """The next index.

    Args:
        request: what to withdraw and how much to keep.
        entries: of the index that is there.
        added: newly built; they take the place of packages of the same name and version.
        state: knows of ``added`` already.
        now: when packages leave.

    Returns:
        Its entries, what left, and the state without what left.
    """
    by_key = {(entry.name, entry.version): entry for entry in (*entries, *added)}
    gone = leaving(request, by_key.values())
    for entry in gone:
        del by_key[entry.name, entry.version]
    moment = _time(now)
    retired = [
        *state.retired,
        *(
            Retired(name=e.name, version=e.version, origin=e.origin or e.name, at=moment)
            for e in gone
        ),
    ]
    names = {f"{e.origin or e.name}={e.version}" for e in gone}
    there = {f"{e.origin or e.name}={e.version}" for e in by_key.values()}
    origins = {
        name: one.model_copy(update={"withdrawn": True})
        if (full := f"{name}={one.version}-r{one.epoch}") in names and full not in there
        else one
        for name, one in state.origins.items()
    }
    update = {"origins": origins, "retired": retired[-MAX_RETIRED:]}
    return list(by_key.values()), gone, state.model_copy(update=update)


def expired(request: PackageRequest, state: State, now: datetime) -> list[Retired]:
    """Retired packages whose files may go."""
    before = _time(now - timedelta(days=request.retention.days))
    return [one for one in state.retired if one.at < before and not one.removed]


def with_build(state: State, record: BuildRecord, artifact: str, now: datetime) -> State:
    """The state with a build in it."""
    old = state.origins.get(record.name)
    abi = {}
    for package in record.packages:
        for soname, symbols in package.exports.items():
            digest = hashlib.sha256("\n".join(sorted(symbols)).encode()).hexdigest()
            before = old.abi.get(soname) if old else None
            base = before.base if before and soname in record.compatible else digest
            abi[soname] = Abi(symbols=digest, base=base)
    one = Published(
        version=record.version,
        epoch=record.epoch,
        inputs=record.inputs,
        links=record.links,
        artifact=artifact,
        packages=[package.name for package in record.packages],
        abi=abi,
        built=_time(now),
    )
    guests = state.guests
    if record.base is not None:
        others = [guest for guest in guests if guest.key != record.base.key]
        guests = [record.base, *others][:MAX_GUESTS]
    update = {"origins": {**state.origins, record.name: one}, "guests": guests}
    return state.model_copy(update=update)


def signed_index(
    entries: Iterable[IndexEntry], description: str, keys: Sequence[SigningKey]
) -> bytes:
    """An index with the signatures of all keys, the first one's first.

    Readers take the first signature whose key they know, so those who know only the old key and
    those who know only the new one both verify it.
    """
    body = write_index(entries, description)
    digest = hashlib.sha256(body).digest()
    out = bytearray()
    for key in keys:
        signature = key.sign(digest)
        header = Header(
            f".SIGN.{key.algorithm}.{key.name}",
            Type.FILE,
            mode=0o644,
            size=len(signature),
            uname="root",
            gname="root",
        )
        out += encode_header(header) + signature + padding(len(signature))
    return gzip_member(bytes(out)) + body


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
