"""Each defence is taken out of a copy of the sources, and the tests named for it must fail.

The rows are those of the table of advisories in ``docs/threat-model.md``.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
PORTIONS = ("core", "webhook", "builder", "operator")
SIGNING = "core/plimsoll/signing"
WEBHOOK = "webhook/plimsoll/webhook"


class Removal(NamedTuple):
    """A defence, what takes it away, and a test that must notice."""

    advisory: str
    file: str
    old: str
    new: str
    test: str


REMOVALS = [
    Removal(
        "CVE-2022-35929 CVE-2022-35930",
        f"{SIGNING}/results.py",
        "if one.predicate_type == predicate_type)",
        "if predicate_type)",
        "tests/unit/signing/test_verify.py::"
        "test_an_attestation_is_no_signature_and_no_other_attestation",
    ),
    Removal(
        "CVE-2022-35929 CVE-2022-35930",
        f"{SIGNING}/verify.py",
        "if statement.predicate_type == COSIGN_SIGN:",
        "if statement.predicate_type:",
        "tests/unit/signing/test_verify.py::"
        "test_an_attestation_is_no_signature_and_no_other_attestation",
    ),
    Removal(
        "CVE-2026-39395",
        f"{SIGNING}/statement.py",
        "if kind not in {STATEMENT_V1, STATEMENT_V01}:",
        "if not kind:",
        "tests/unit/signing/test_verify.py::test_malformed_statements",
    ),
    Removal(
        "CVE-2026-39395",
        f"{SIGNING}/dsse.py",
        "pae(self.payload_type, self.payload)",
        "self.payload",
        "tests/unit/signing/test_verify.py::test_the_payload_signed_without_its_type",
    ),
    Removal(
        "CVE-2022-23649 CVE-2022-36056 CVE-2026-22703",
        f"{SIGNING}/keyless.py",
        "check_body(entry.body, entry.kind, signed, key_spki, certificate)",
        "pass",
        "tests/unit/signing/test_keyless.py::test_each_kind_of_log_entry_is_bound_to_the_signature",
    ),
    Removal(
        "CVE-2022-23649 CVE-2022-36056 CVE-2026-22703",
        f"{SIGNING}/keyless.py",
        "if not self.identity(found):",
        "if not found:",
        "tests/unit/signing/test_keyless.py::test_somebody_else",
    ),
    Removal(
        "GHSA-fx35-mq7g-6g98",
        f"{SIGNING}/identities.py",
        'identity.kind == "certificate"\n            and ',
        "",
        "tests/unit/signing/test_identities.py::test_keys_and_empty_texts_never_match_a_pattern",
    ),
    Removal(
        "CVE-2026-24122",
        f"{SIGNING}/certificate.py",
        "if not _valid_at(last, moment) or len(path) > _MAX_PATH:",
        "if len(path) > _MAX_PATH:",
        "tests/unit/signing/test_keyless.py::test_every_authority_is_valid_at_signing_time",
    ),
    Removal(
        "CVE-2026-24122",
        f"{SIGNING}/certificate.py",
        "if _valid_at(root, moment) and _issued(root, last, below):",
        "if _issued(root, last, below):",
        "tests/unit/signing/test_keyless.py::test_every_authority_is_valid_at_signing_time",
    ),
    Removal(
        "CVE-2023-46737 CVE-2024-29902 CVE-2023-33957",
        f"{SIGNING}/evidence.py",
        "for item in _foremost(relevant, self.limits.artifacts)",
        "for item in relevant",
        "tests/unit/signing/test_evidence.py::test_limits",
    ),
    Removal(
        "CVE-2023-46737 CVE-2024-29902 CVE-2023-33957",
        f"{SIGNING}/evidence.py",
        "for number, layer in enumerate(layers[: self.limits.layers])",
        "for number, layer in enumerate(layers)",
        "tests/unit/signing/test_evidence.py::test_endless_layers",
    ),
    Removal(
        "GHSA-cq38-jh5f-37mq",
        f"{SIGNING}/statement.py",
        "SUBJECT_LIMIT: Final = 1024",
        "SUBJECT_LIMIT: Final = 1 << 30",
        "tests/unit/signing/test_verify.py::test_too_many_subjects",
    ),
    Removal(
        "GHSA-wqqc-jjcq-vfxm",
        f"{SIGNING}/keyless.py",
        "if early or late:",
        "if early and late:",
        "tests/unit/signing/test_keyless.py::test_a_logged_key",
    ),
    Removal(
        "GHSA-wqqc-jjcq-vfxm",
        f"{SIGNING}/rekor.py",
        "if moment not in log.valid_for:",
        "if moment is None:",
        "tests/unit/signing/test_keyless.py::test_a_key_of_the_log_outside_of_its_time",
    ),
    Removal(
        "CVE-2026-39984",
        f"{SIGNING}/timestamp.py",
        "verifier.verify_message(response, signature)",
        "pass",
        "tests/unit/signing/test_timestamps.py::"
        "test_a_good_certificate_beside_the_signers_proves_nothing",
    ),
    Removal(
        "CVE-2026-39984",
        f"{SIGNING}/timestamp.py",
        "if moment not in authority.valid_for:",
        "if moment is None:",
        "tests/unit/signing/test_timestamps.py::test_an_authority_counts_in_its_own_time_only",
    ),
    Removal(
        "sigstore-python 1247",
        f"{SIGNING}/rekor.py",
        "    if entry.promise:\n        moment =",
        "    if entry.integrated_time:\n        moment =",
        "tests/contract/test_signing_sigstore.py::"
        "test_no_time_is_proven_where_only_the_log_entry_claims_one",
    ),
    Removal(
        "CVE-2025-29778",
        f"{SIGNING}/identities.py",
        "and self.subject(identity.subject)",
        "and bool(self.subject)",
        "tests/unit/signing/test_identities.py::test_rules",
    ),
    Removal(
        "CVE-2025-29778",
        f"{WEBHOOK}/authorities.py",
        "rule.texts(identity) and rule.patterns(identity)",
        "rule.texts(identity)",
        "tests/unit/webhook/test_trust.py::test_each_part_of_an_identity_restricts",
    ),
    Removal(
        "CVE-2022-47633 CVE-2023-47630 CVE-2023-33959",
        "core/plimsoll/oci/reader.py",
        "        if not matches(digest, answer.body):\n            raise",
        "        if not digest:\n            raise",
        "tests/unit/signing/test_evidence.py::test_bytes_that_are_not_the_digest_are_rejected",
    ),
    Removal(
        "CVE-2023-34091",
        f"{WEBHOOK}/admission.py",
        "    images = tuple(_images(",
        '    if metadata.get("deletionTimestamp"):\n        return Review(**about)\n'
        "    images = tuple(_images(",
        "tests/unit/webhook/test_admission.py::test_an_update_shows_what_changed_and_where",
    ),
    Removal(
        "CVE-2025-46342",
        f"{SIGNING}/evidence.py",
        "        if isinstance(found, BaseException):\n            raise found\n",
        "",
        "tests/unit/signing/test_evidence.py::test_a_registry_that_does_not_answer_is_an_error",
    ),
    Removal(
        "CVE-2024-48921 CVE-2026-22039",
        f"{WEBHOOK}/authorities.py",
        'if ref.namespace not in {None, "", secrets.namespace}:',
        "if not secrets.namespace:",
        "tests/unit/webhook/test_policies.py::test_secrets_of_other_namespaces_are_out_of_reach",
    ),
    Removal(
        "CVE-2024-48921 CVE-2026-22039",
        f"{WEBHOOK}/needs.py",
        "        if rule.remote is not None:\n",
        "        if rule is None:\n",
        "tests/unit/webhook/test_rules.py::test_a_namespace_brings_its_own_rules_only",
    ),
    Removal(
        "CVE-2026-4789",
        "core/plimsoll/http/address.py",
        "    if ip in _METADATA:\n        return Reach.FORBIDDEN\n",
        "",
        "tests/unit/http/test_rules.py::test_addresses_are_classified",
    ),
    Removal(
        "CVE-2026-41323 CVE-2025-27403",
        "core/plimsoll/http/client.py",
        "if transport.origin(target) != transport.origin(current):",
        "if target == current:",
        "tests/unit/http/test_client.py::test_redirects_keep_credentials_at_home",
    ),
    Removal(
        "Connaisseur 1.3.0",
        f"{WEBHOOK}/admission.py",
        '    "initContainers": "init container",\n',
        "",
        "tests/unit/webhook/test_admission.py::test_every_kind_shows_all_its_images",
    ),
    Removal(
        "Connaisseur 3.1.1",
        f"{WEBHOOK}/admission.py",
        '    "ephemeralContainers": "ephemeral container",\n',
        "",
        "tests/unit/webhook/test_admission.py::test_every_kind_shows_all_its_images",
    ),
    Removal(
        "duplicate keys",
        "core/plimsoll/oci/strictjson.py",
        "    if len(result) != len(pairs):\n",
        "    if not pairs:\n",
        "tests/unit/signing/test_verify.py::test_a_duplicate_digest_in_a_signed_statement",
    ),
    Removal(
        "relocated signatures",
        f"{SIGNING}/verify.py",
        "    if subject is None:\n",
        "    subject = subject or statement.subjects[0]\n    if subject is None:\n",
        "tests/unit/signing/test_verify.py::test_a_signature_relocated_from_another_image",
    ),
    Removal(
        "relocated signatures",
        f"{SIGNING}/verify.py",
        "    if payload.digest != digest:\n",
        "    if not payload.digest:\n",
        "tests/unit/signing/test_verify.py::test_signed_payloads_that_say_something_else",
    ),
    Removal(
        "one signer counted twice",
        f"{WEBHOOK}/evaluate.py",
        "if 0 < len(signers) < (rules.signers or 0):",
        "if 0 < sum(len(v.signatures) for v in verdicts) < (rules.signers or 0):",
        "tests/unit/webhook/test_require.py::test_signers_are_counted_not_signatures",
    ),
    Removal(
        "one bad image of several, warnings beside refusals",
        f"{WEBHOOK}/evaluate.py",
        "        elif binding(verdict):\n            refusals.append",
        "        elif binding(verdict) and not warnings:\n            refusals.append",
        "tests/unit/webhook/test_evaluate.py::test_every_policy_must_pass",
    ),
]


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """A copy of the sources, to be damaged."""
    folder = tmp_path_factory.mktemp("sources")
    for portion in PORTIONS:
        shutil.copytree(
            ROOT / portion, folder / portion, ignore=shutil.ignore_patterns("__pycache__")
        )
    return folder


def batches():
    """Removals that can be tried together: none in the same file, none for the same test."""
    found: list[list[Removal]] = []
    for removal in REMOVALS:
        for batch in found:
            taken = {one.file for one in batch} | {one.test for one in batch}
            if not {removal.file, removal.test} & taken:
                batch.append(removal)
                break
        else:
            found.append([removal])
    return found


@pytest.mark.parametrize("batch", batches(), ids=lambda batch: f"{len(batch)} defences")
def test_a_defence_that_is_taken_away_is_missed(sources, batch):
    kept = {}
    for removal in batch:
        file = sources / removal.file
        kept[file] = file.read_text()
        assert kept[file].count(removal.old) == 1, f"{removal.file} has changed: {removal.old!r}"
        file.write_text(kept[file].replace(removal.old, removal.new))
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-rf"]
            + [removal.test for removal in batch],
            cwd=ROOT,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(str(sources / one) for one in PORTIONS),
                "PYTHONDONTWRITEBYTECODE": "1",
            },
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
    finally:
        for file, text in kept.items():
            file.write_text(text)
    assert done.returncode == 1, done.stdout[-2000:]
    failed = {
        line.split(" ")[1].partition("[")[0]
        for line in done.stdout.splitlines()
        if line.startswith("FAILED ")
    }
    assert {removal.test for removal in batch} - failed == set()
