"""Types of in-toto predicates, and the short names that people know them by."""

from __future__ import annotations

SPDX = "https://spdx.dev/Document"
CYCLONEDX = "https://cyclonedx.org/bom"
SLSA_V02 = "https://slsa.dev/provenance/v0.2"
SLSA_V1 = "https://slsa.dev/provenance/v1"

#: What counts as a bill of materials: the types that cosign writes, and those with a version.
SBOM_TYPES = frozenset(
    {SPDX, CYCLONEDX}
    | {f"{SPDX}/v{version}" for version in ("2.2", "2.3", "3.0")}
    | {f"{CYCLONEDX}/v{version}" for version in ("1.4", "1.5", "1.6", "1.7")}
)
VULN = "https://cosign.sigstore.dev/attestation/vuln/v1"
#: The in-toto framework's own predicate of vulnerability reports.
IN_TOTO_VULNS = "https://in-toto.io/attestation/vulns"
VULN_TYPES = frozenset({VULN} | {f"{IN_TOTO_VULNS}/{version}" for version in ("v0.1", "v0.2")})
OPENVEX = "https://openvex.dev/ns"
#: OpenVEX documents name their version in the type.
OPENVEX_TYPES = frozenset({OPENVEX, f"{OPENVEX}/v0.2.0"})
PROVENANCE_TYPES = frozenset({SLSA_V02, SLSA_V1})

#: Short names of predicate types, as ``cosign attest --type`` has them.
PREDICATE_ALIASES = {
    "custom": "https://cosign.sigstore.dev/attestation/v1",
    "cyclonedx": CYCLONEDX,
    "link": "https://in-toto.io/Link/v1",
    "openvex": OPENVEX,
    "slsaprovenance": SLSA_V02,
    "slsaprovenance02": SLSA_V02,
    "slsaprovenance1": SLSA_V1,
    "spdx": SPDX,
    "spdxjson": SPDX,
    "vuln": VULN,
}
