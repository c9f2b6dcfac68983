"""A TUF repository with real signatures, as files."""

# The libraries do not say in the way that mypy wants what they export.
# mypy: disable-error-code="attr-defined, type-var"

from __future__ import annotations

import base64
import gzip
import io
import tarfile
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import (
    Metadata,
    MetaFile,
    Role,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)

TARGET = "trusted_root.json"


@dataclass
class TufRepository:
    """One target, all roles by one key."""

    content: bytes
    version: int = 1
    days: float = 30
    signer: CryptoSigner = field(default_factory=CryptoSigner.generate_ed25519)

    def files(self) -> dict[str, bytes]:
        """Path → bytes."""
        expires = (datetime.now(UTC) + timedelta(days=self.days)).replace(microsecond=0)
        key = self.signer.public_key
        names = ("root", "targets", "snapshot", "timestamp")
        root = Root(
            version=1,
            expires=datetime.now(UTC).replace(microsecond=0) + timedelta(days=365),
            keys={key.keyid: key},
            roles={name: Role([key.keyid], 1) for name in names},
            consistent_snapshot=True,
        )
        target = TargetFile.from_data(TARGET, self.content, ["sha256"])
        version = self.version
        targets = Targets(version=version, expires=expires, targets={TARGET: target})
        meta = {"targets.json": MetaFile(version)}
        snapshot = Snapshot(version=version, expires=expires, meta=meta)
        stamp = Timestamp(version=version, expires=expires, snapshot_meta=MetaFile(version))
        signed = {
            "1.root.json": root,
            f"{version}.targets.json": targets,
            f"{version}.snapshot.json": snapshot,
            "timestamp.json": stamp,
        }
        made = {}
        for name, role in signed.items():
            metadata = Metadata(role)
            metadata.sign(self.signer)
            made[name] = metadata.to_bytes()
        made[f"targets/{target.hashes['sha256']}.{TARGET}"] = self.content
        return made

    @property
    def root(self) -> str:
        """``root.json`` in base64."""
        return base64.b64encode(self.files()["1.root.json"]).decode()

    def mirror(self, files: dict[str, bytes] | None = None) -> str:
        """All files as a gzipped tar in base64."""
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as archive:
            for name, data in (files or self.files()).items():
                member = tarfile.TarInfo(f"repository/{name}")
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
        return base64.b64encode(gzip.compress(out.getvalue())).decode()
