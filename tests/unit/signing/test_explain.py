from __future__ import annotations

from plimsoll.signing.explain import Node, evidence
from plimsoll.signing.results import (
    Identity,
    Rejection,
    Verdict,
    VerifiedAttestation,
    VerifiedSignature,
)

WHO = Identity(kind="key", id="f" * 64)
DIGEST = "sha256:" + "1" * 64


def test_a_tree_is_drawn():
    tree = Node("a", below=(Node("b", good=True, below=(Node("c"),)), Node("d", good=False)))
    assert list(tree.lines()) == ["a", "├─ ✓ b", "│  └─ c", "└─ ✗ d"]


def test_every_piece_of_evidence_is_told():
    verdict = Verdict(
        digest=DIGEST,
        signatures=(VerifiedSignature(identity=WHO, digest=DIGEST, source="one"),),
        attestations=(
            VerifiedAttestation(
                identity=WHO, digest=DIGEST, predicate_type="kind", predicate={}, source="two"
            ),
        ),
        rejections=(Rejection("it is not by the key", "three"),),
    )
    told = [(node.text, node.good) for node in evidence(verdict)]
    assert told == [
        ("signature by key ffffffffffffffff (one)", True),
        ("attestation kind by key ffffffffffffffff (two)", True),
        ("three: it is not by the key", False),
    ]
    assert [node.text for node in evidence(Verdict(digest=DIGEST))] == ["no evidence was found"]


def test_texts_of_strangers_stay_on_their_line():
    assert list(Node("a\nb\x1b[2J\tc").lines()) == ["a b[2J c"]
