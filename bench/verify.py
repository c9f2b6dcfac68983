"""CPU time of verifying one bundle, beside sigstore-python on the same bundles.

Aim: at most 5 ms a bundle. Bundles: all of sigstore's conformance suite that both accept.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/support"))

from sigstore.models import Bundle, TrustedRoot
from sigstore.verify import Verifier
from sigstore.verify.policy import Identity

from plimsoll.oci.digest import digest_of
from plimsoll.signing.identities import IdentityRule
from plimsoll.signing.keyless import KeylessAuthority, Witnesses
from plimsoll.signing.trustroot import TrustRoot
from plimsoll.signing.verify import verify_bundle
from shared_data import shared

if TYPE_CHECKING:
    from collections.abc import Callable

RUNS = 20
AIM = 5.0


def milliseconds(work: Callable[[], object]) -> float:
    """CPU time of one call, the least of several."""
    times = []
    for _ in range(RUNS):
        started = time.process_time_ns()
        work()
        times.append(time.process_time_ns() - started)
    return min(times) / 1e6


def ours(case: dict[str, Any], data: bytes, artifact: bytes, root: bytes) -> Callable[[], object]:
    """Verification of a case by us, the trust root read before."""
    authority = KeylessAuthority(
        witnesses=Witnesses(root=TrustRoot.parse(root)),
        identity=IdentityRule.of(subject=case["identity"], issuer=case["issuer"]),
    )
    digest = digest_of(artifact)
    return lambda: verify_bundle(data, digest, authority, artifact=artifact, source="case")


def theirs(case: dict[str, Any], data: bytes, artifact: bytes, path: Path) -> Callable[[], object]:
    """The same by sigstore-python."""
    verifier = Verifier(trusted_root=TrustedRoot.from_file(str(path)))
    identity = Identity(identity=case["identity"], issuer=case["issuer"])
    if case["content"] == "dsse":
        return lambda: verifier.verify_dsse(Bundle.from_json(data), identity)
    return lambda: verifier.verify_artifact(artifact, Bundle.from_json(data), identity)


def main() -> None:
    """Measure case by case."""
    logging.disable(logging.CRITICAL)
    folder = shared("sigstore")
    cases = json.loads((folder / "index.json").read_text())["conformance"]
    rows: list[tuple[str, float, float]] = []
    for case in cases:
        if case["expect"] != "pass" or not case.get("identity"):
            continue
        path = folder / case["trusted_root"]
        data = (folder / case["bundle"]).read_bytes()
        artifact = (folder / case["artifact"]).read_bytes()
        works = ours(case, data, artifact, path.read_bytes()), theirs(case, data, artifact, path)
        try:
            for work in works:
                work()
        except Exception:  # noqa: BLE001  one of both refuses; speed is asked, not agreement
            continue
        rows.append((case["case"], milliseconds(works[0]), milliseconds(works[1])))
    for kind in ("rekor2", ""):
        chosen = [row for row in rows if row[0].startswith("rekor2") == bool(kind)]
        mine, other = (median(row[at] for row in chosen) for at in (1, 2))
        most = max(row[1] for row in chosen)
        name = "Rekor v2, timestamp" if kind else "Rekor v1"
        print(
            f"{name:20} {len(chosen):3} bundles: {mine:.2f} ms, at most {most:.2f} ms "
            f"(aim {AIM:.0f}); {mine / other:.2f} of sigstore-python's {other:.2f} ms"
        )


if __name__ == "__main__":
    main()
