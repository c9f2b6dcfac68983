"""Signing statements about images and attaching them; what is attached already stays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from plimsoll.builder.concurrently import run_all
from plimsoll.builder.provenance import invocation_id
from plimsoll.builder.steps.vulnerabilities import is_of_build
from plimsoll.signing.attach import (
    attach_bundle,
    attach_legacy_attestation,
    attach_legacy_signature,
)
from plimsoll.signing.bundle import Bundle
from plimsoll.signing.dsse import Envelope
from plimsoll.signing.evidence import Format, discover
from plimsoll.signing.items import BundleItem
from plimsoll.signing.legacy import build_payload
from plimsoll.signing.statement import (
    COSIGN_SIGN,
    SLSA_PROVENANCE_V1,
    VULN,
    Statement,
)
from plimsoll.signing.statementsigner import DataSigner

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plimsoll.api.steps import BuildRequest
    from plimsoll.oci.model import Descriptor
    from plimsoll.oci.reference import Reference
    from plimsoll.oci.registry import Registry
    from plimsoll.signing.statementsigner import StatementSigner


@dataclass(frozen=True, slots=True)
class _Wish:
    """A statement to sign, or the bundle that holds it already."""

    kind: str
    statement: bytes
    attached: Bundle | None


class Sealer:
    """Signs and attaches; what is attached already is not attached again.

    Args:
        registry: the client.
        repository: where the images are.
        request: names the build.
        signer: signs.
    """

    def __init__(
        self,
        registry: Registry,
        repository: Reference,
        request: BuildRequest,
        signer: StatementSigner,
    ) -> None:
        self._registry = registry
        self._repository = repository
        self._request = request
        self._signer = signer

    async def seal(self, said: Sequence[tuple[Descriptor, Sequence[tuple[str, bytes]]]]) -> None:
        """Sign and attach.

        Args:
            said: for each image its statements: predicate type and bytes.

        Raises:
            RegistryError: the registry fails.
            SigningError: the signer fails.
        """
        plans = [await self._plan(subject.digest, statements) for subject, statements in said]
        # Logs answer once a batch is published: all wait for the same one.
        signed = await run_all(map(self._sign, plans))
        # One after the other: the fallback index of old registries has one writer.
        for (subject, _), done in zip(said, signed, strict=True):
            for kind, bundle, is_new in done:
                if is_new:
                    # With the time of the build, the same bundle is the same artifact however
                    # often it is made.
                    await attach_bundle(
                        self._registry,
                        self._repository,
                        subject,
                        bundle,
                        created=self._request.started,
                    )
                if self._request.output.legacy_signatures:
                    await self._legacy(kind, subject.digest, bundle)

    async def _plan(self, digest: str, statements: Sequence[tuple[str, bytes]]) -> list[_Wish]:
        """The statements about an image, with the bundles that an earlier try attached."""
        found = await self._found(digest, [kind for kind, _ in statements])
        return [
            _Wish(
                kind,
                statement,
                next(
                    (one for one in found.get(kind, ()) if self._same(one, kind, statement)), None
                ),
            )
            for kind, statement in statements
        ]

    async def _sign(self, plan: Sequence[_Wish]) -> list[tuple[str, Bundle, bool]]:
        """Type, bundle, and whether it is yet to be attached, of each statement."""

        async def one(wish: _Wish) -> tuple[str, Bundle, bool]:
            if wish.attached is not None:
                return wish.kind, wish.attached, False
            return wish.kind, await self._signer.sign_statement(wish.statement), True

        return await run_all(map(one, plan))

    async def _legacy(self, kind: str, digest: str, bundle: Bundle) -> None:
        if kind != COSIGN_SIGN:
            await attach_legacy_attestation(self._registry, self._repository, digest, bundle)
        elif isinstance(self._signer, DataSigner):
            payload = build_payload(self._repository.name, digest)
            signature = await self._signer.sign(payload)
            await attach_legacy_signature(
                self._registry, self._repository, digest, payload, signature
            )

    async def _found(self, digest: str, kinds: Sequence[str]) -> dict[str, list[Bundle]]:
        """What an earlier try of this build attached, by predicate type."""
        from plimsoll.signing.errors import InvalidEvidenceError  # noqa: PLC0415  (rare)

        formats: tuple[Format, ...] = ("bundle",)
        evidence = await discover(
            self._registry,
            self._repository,
            digest,
            formats=formats,
            predicate_types=tuple(kinds),
        )
        found: dict[str, list[Bundle]] = {}
        for item in evidence.items:
            if not isinstance(item, BundleItem):
                continue
            try:
                bundle = Bundle.parse(item.data)
                if not isinstance(bundle.content, Envelope):
                    continue
                kind = Statement.parse(bundle.content.payload).predicate_type
            except InvalidEvidenceError:
                continue
            if await self._signer.made(bundle):
                found.setdefault(kind, []).append(bundle)
        return found

    def _same(self, bundle: Bundle, kind: str, statement: bytes) -> bool:
        """Whether a bundle says what the statement says.

        Unlike all else, provenance and reports of scans name the moment at which they were made;
        those of the same invocation will do.
        """
        if not isinstance(bundle.content, Envelope):
            return False
        if kind not in {SLSA_PROVENANCE_V1, VULN}:
            return bundle.content.payload == statement
        predicate: Any = Statement.parse(bundle.content.payload).predicate
        if kind == VULN:
            return is_of_build(self._request, predicate)
        metadata = predicate.get("runDetails", {}).get("metadata", {})
        return bool(metadata.get("invocationId") == invocation_id(self._request))
