from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509

from plimsoll.webhook.certificates import AUTHORITY_LIFE, SERVING_LIFE, Identity, renewed
from plimsoll.webhook.errors import NotConfiguredError
from plimsoll.webhook.tls import ServingCertificate

_NAMES = ["w.ns.svc", "w.ns.svc.cluster.local"]
_NOW = datetime(2026, 11, 21, tzinfo=UTC)


def _authorities(identity):
    return x509.load_pem_x509_certificates(identity.bundle)


def _serving(identity):
    return x509.load_pem_x509_certificate(identity.certificate)


def test_nothing_is_due_for_two_thirds_of_a_life():
    identity = renewed(None, _NAMES, b"", _NOW)
    (authority,) = _authorities(identity)
    _serving(identity).verify_directly_issued_by(authority)
    assert renewed(identity, _NAMES, identity.bundle, _NOW) is identity
    later = _NOW + SERVING_LIFE * 0.6
    assert renewed(identity, _NAMES, identity.bundle, later) is identity
    assert Identity.from_data(identity.to_data()) == identity
    assert Identity.from_data({**identity.to_data(), "ca.key": b""}) is None


def test_the_certificate_is_renewed_by_the_same_authority():
    identity = renewed(None, _NAMES, b"", _NOW)
    later = _NOW + SERVING_LIFE * 0.7
    new = renewed(identity, _NAMES, identity.bundle, later)
    assert new.bundle == identity.bundle
    assert new.certificate != identity.certificate
    assert _serving(new).not_valid_after_utc == later + SERVING_LIFE


def test_other_names_need_another_certificate():
    identity = renewed(None, _NAMES, b"", _NOW)
    new = renewed(identity, ["other.ns.svc"], identity.bundle, _NOW)
    assert new.certificate != identity.certificate


def test_a_new_authority_signs_only_when_it_is_known():
    old = renewed(None, _NAMES, b"", _NOW)
    refreshed = renewed(old, _NAMES, old.bundle, _NOW + AUTHORITY_LIFE * 0.66)
    later = _NOW + AUTHORITY_LIFE * 0.67
    overlap = renewed(refreshed, _NAMES, refreshed.bundle, later)
    assert len(_authorities(overlap)) == 2
    assert overlap.certificate == refreshed.certificate
    # The API server does not know it yet: nothing more happens.
    assert renewed(overlap, _NAMES, old.bundle, later) is overlap
    switched = renewed(overlap, _NAMES, overlap.bundle, later)
    _serving(switched).verify_directly_issued_by(_authorities(switched)[0])
    assert renewed(switched, _NAMES, switched.bundle, later) is switched
    # Once the old authority is over, it is dropped.
    end = _NOW + AUTHORITY_LIFE + timedelta(days=1)
    alone = renewed(switched, _NAMES, switched.bundle, end)
    assert len(_authorities(alone)) == 1


def test_an_authority_near_its_end_stays_trusted_beside_the_new_one():
    identity = renewed(None, _NAMES, b"", _NOW)
    near_end = _NOW + AUTHORITY_LIFE - timedelta(days=2)
    overlap = renewed(identity, _NAMES, b"", near_end)
    assert _authorities(overlap)[1] == _authorities(identity)[0]


@pytest.mark.parametrize(
    "spoil",
    [
        {"ca.crt": b"x"},
        {"tls.crt": b"x"},
        {"ca.key": b"x"},
        {"tls.key": b"x"},
        {"tls.key": renewed(None, _NAMES, b"", _NOW).key},
        {"ca.key": renewed(None, _NAMES, b"", _NOW).authority_key},
    ],
)
def test_a_broken_secret_is_replaced(spoil):
    identity = renewed(None, _NAMES, b"", _NOW)
    broken = Identity.from_data({**identity.to_data(), **spoil})
    new = renewed(broken, _NAMES, identity.bundle, _NOW)
    _serving(new).verify_directly_issued_by(_authorities(new)[0])
    assert renewed(new, _NAMES, new.bundle, _NOW) is new


def test_an_authority_that_is_over_is_not_used():
    identity = renewed(None, _NAMES, b"", _NOW)
    later = _NOW + AUTHORITY_LIFE + timedelta(days=1)
    new = renewed(identity, _NAMES, identity.bundle, later)
    assert _authorities(new)[0].not_valid_after_utc > later
    assert identity.bundle not in new.bundle


def test_a_bad_pair_leaves_the_good_one_in_use():
    one, two = (renewed(None, _NAMES, b"", _NOW) for _ in range(2))
    serving = ServingCertificate()
    assert serving.use(one.certificate, one.key)
    assert not serving.use(one.certificate, one.key)
    with pytest.raises(NotConfiguredError, match="cannot be used"):
        serving.use(two.certificate, one.key)
    assert _peer(serving, one) == ssl.PEM_cert_to_DER_cert(one.certificate.decode())
    assert serving.use(two.certificate, two.key)
    assert _peer(serving, two) == ssl.PEM_cert_to_DER_cert(two.certificate.decode())


def _peer(serving, identity):
    """The certificate that a client sees, by a handshake in memory."""
    trust = ssl.create_default_context(cadata=identity.bundle.decode())
    trust.verify_flags &= ~ssl.VERIFY_X509_STRICT
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trust.wrap_bio(to_client, to_server, server_hostname=_NAMES[0])
    server = serving.context.wrap_bio(to_server, to_client, server_side=True)
    done = set()
    for _ in range(10):
        for side in (client, server):
            try:
                side.do_handshake()
                done.add(side)
            except ssl.SSLWantReadError:
                continue
    assert len(done) == 2
    return client.getpeercert(binary_form=True)
