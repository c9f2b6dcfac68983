"""Timestamps: who signed the token counts, never which certificates lie in it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509

from plimsoll.signing.errors import RejectedError
from plimsoll.signing.timestamp import verify_timestamps
from plimsoll.signing.trustroot import CertificateAuthority, Period
from timestamps import certificate, stamp

MESSAGE = b"a signature"
NOW = datetime.now(UTC).replace(microsecond=0)
ROOT = certificate("root", authority=True)
LEAF = certificate("authority", ROOT)


def trusted(*chain, start=None, end=None):
    certificates = tuple(one[0] for one in chain or (LEAF, ROOT))
    return CertificateAuthority(chain=certificates, valid_for=Period(start, end))


def accepted(folder, signer, *others, authority=None, moment=None, message=MESSAGE):
    response = stamp(folder, message, signer, [one[0] for one in others], moment or NOW)
    (time,) = verify_timestamps([response], MESSAGE, [authority or trusted()])
    return time.moment


def test_the_authority_itself(tmp_path):
    assert accepted(tmp_path, LEAF) == NOW
    assert accepted(tmp_path, LEAF, authority=trusted(ROOT)) == NOW


OTHER_ROOT = certificate("root", authority=True)


@pytest.mark.parametrize(
    "signer",
    [
        pytest.param(certificate("authority", OTHER_ROOT), id="of another root of the same name"),
        pytest.param(certificate("authority", ROOT, usage=None), id="may not stamp"),
        pytest.param(
            certificate(
                "authority",
                ROOT,
                usage=x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.CODE_SIGNING]),
            ),
            id="may sign code only",
        ),
        pytest.param(
            certificate("authority", ROOT, start=NOW - timedelta(days=9), days=2), id="has ended"
        ),
    ],
)
@pytest.mark.parametrize("authority", [trusted(), trusted(ROOT)], ids=["leaf", "root"])
def test_a_good_certificate_beside_the_signers_proves_nothing(tmp_path, signer, authority):
    # timestamp-authority CVE-2026-39984: the checks were of another certificate than the signer's.
    for others in ((), (LEAF,), (LEAF, ROOT), (LEAF, OTHER_ROOT)):
        with pytest.raises(RejectedError, match="no timestamp is by a trusted authority"):
            accepted(tmp_path, signer, *others, authority=authority)


def test_another_leaf_of_the_same_root_is_not_the_one_that_is_named(tmp_path):
    sibling = certificate("sibling", ROOT)
    with pytest.raises(RejectedError):
        accepted(tmp_path, sibling, LEAF)


def test_another_message(tmp_path):
    with pytest.raises(RejectedError):
        accepted(tmp_path, LEAF, message=b"another signature")


def test_an_authority_counts_in_its_own_time_only(tmp_path):
    second = timedelta(seconds=1)
    assert accepted(tmp_path, LEAF, authority=trusted(start=NOW, end=NOW)) == NOW
    for period in ({"start": NOW + second}, {"end": NOW - second}):
        with pytest.raises(RejectedError, match="not trusted at"):
            accepted(tmp_path, LEAF, authority=trusted(**period))


def test_one_authority_is_one_witness(tmp_path):
    responses = [stamp(tmp_path, MESSAGE, LEAF, moment=NOW) for _ in range(3)]
    assert len(verify_timestamps(responses, MESSAGE, [trusted()])) == 1
