"""The ABI of what is published, and what a new build takes away."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plimsoll.builder.steps.packagerecord import UNSIGNED_TYPE, BuildRecord, parse_record

if TYPE_CHECKING:
    from plimsoll.builder.sca.abi import AbiChange
    from plimsoll.builder.steps.packagecommon import Storage
    from plimsoll.builder.steps.packagestate import Snapshot

_SHOWN = 5


async def published_exports(
    storage: Storage, snapshot: Snapshot, origin: str
) -> dict[str, list[str]]:
    """Symbols that the published build of a configuration exports, by soname.

    Raises:
        RequestError: its record is not what it should be.
        RegistryError: it cannot be read.
    """
    known = snapshot.state.origins.get(origin)
    if known is None or not known.abi:
        return {}
    pulled = await storage.pull(UNSIGNED_TYPE, known.artifact)
    record = parse_record(BuildRecord, pulled.record, known.artifact)
    return {soname: s for package in record.packages for soname, s in package.exports.items()}


def sentences(change: AbiChange) -> list[str]:
    """What programs built against the old libraries would miss, a sentence each."""
    gone = [f"{soname} is gone" for soname in change.sonames]
    for soname, symbols in change.symbols:
        shown = ", ".join(symbols[:_SHOWN])
        more = f" and {len(symbols) - _SHOWN} more" if len(symbols) > _SHOWN else ""
        gone.append(f"{soname} has no longer {shown}{more}"[:300])
    return gone
