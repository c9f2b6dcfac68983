"""What reads the words of strangers, each as a function of bytes.

A target may raise ``plimsoll.errors.Error``, which says what is wrong, and nothing else.
"""

from __future__ import annotations

import hashlib
import io
import json
from functools import partial
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import apk_files
import fuzz_evidence
import fuzz_git
import fuzz_images
import fuzz_packages
from plimsoll.apk.index import Index, read_index
from plimsoll.apk.installed import (
    parse_installed,
    read_scripts,
    read_triggers,
    write_triggers,
)
from plimsoll.apk.package import Limits
from plimsoll.apk.packageinfo import PackageInfo
from plimsoll.apk.solver import RepositoryIndex, resolve
from plimsoll.apk.tarfmt import TarReader, Type
from plimsoll.apk.version import Constraint, Version
from plimsoll.arch import Arch
from plimsoll.builder import jks
from plimsoll.builder.config import parse_config
from plimsoll.builder.cyclonedx import from_spdx
from plimsoll.builder.layerfiles import LayerFiles
from plimsoll.builder.lock import Lock
from plimsoll.builder.sbom import Subject, image_sbom
from plimsoll.builder.sbomsource import Contents, Listed
from plimsoll.builder.view import document_view
from plimsoll.builder.vulnerabilities.inventory import document_components
from plimsoll.builder.vulnerabilities.model import Component
from plimsoll.builder.vulnerabilities.scan import Judgement, scan
from plimsoll.builder.vulnerabilities.scan import Subject as ScanSubject
from plimsoll.builder.vulnerabilities.sources import Feed
from plimsoll.builder.vulnerabilities.vex import parse_vex
from plimsoll.errors import Error
from plimsoll.oci.model import Index as ImageIndex
from plimsoll.oci.model import parse_manifest
from plimsoll.oci.reference import Reference
from plimsoll.signing.bundle import Bundle
from plimsoll.signing.statement import Statement

if TYPE_CHECKING:
    from collections.abc import Callable

_LIMITS = Limits(control=1 << 20, data=4 << 20)


def _text(data: bytes) -> str:
    return data.decode(errors="replace")


def index(data: bytes) -> None:
    """``APKINDEX.tar.gz`` as it comes."""
    read_index(data, None, source="x", max_size=1 << 20)


def index_text(data: bytes) -> None:
    """The text in it, every record of which is read."""
    found = Index(data, source="x")
    for name in found.names():
        for entry in found.named(name):
            assert Index.from_entries([entry]).named(entry.name) == [entry]
    found.providers("so:x")


def package(data: bytes) -> None:
    """An ``.apk`` as it comes."""
    apk_files.read(data, limits=_LIMITS)


def package_data(data: bytes) -> None:
    """A sound package around any data tar: nothing in it leaves the root."""
    for entry in apk_files.read(apk_files.apk(data), limits=_LIMITS):
        path = PurePosixPath(entry.header.name)
        assert not path.is_absolute()
        assert ".." not in path.parts
        assert entry.header.type is not Type.CHARACTER_DEVICE


def package_control(data: bytes) -> None:
    """A package around any control tar."""
    apk_files.read(apk_files.apk(apk_files.tar(), control=data), limits=_LIMITS)


def package_info(data: bytes) -> None:
    """``.PKGINFO``."""
    info = PackageInfo.parse(_text(data), "x")
    assert PackageInfo.parse(info.to_text(), "x") == info


def tar(data: bytes) -> None:
    """A tar stream, in small pieces."""
    pieces = [data[at : at + 100] for at in range(0, len(data), 100)]
    for entry in TarReader(pieces, "x"):
        entry.read()


def installed(data: bytes) -> None:
    """The database of installed packages, which reads the same when written again."""
    found = parse_installed(_text(data))
    again = parse_installed("".join(item.to_text() for item in found))
    assert [item.entry.name for item in again] == [item.entry.name for item in found]


def scripts(data: bytes) -> None:
    """``scripts.tar`` and ``triggers``."""
    read_scripts(data)


def triggers(data: bytes) -> None:
    """``triggers``."""
    write_triggers([])
    read_triggers(_text(data))


def version(data: bytes) -> None:
    """Versions and dependencies."""
    for line in _text(data).split("\n")[:64]:
        _tolerant(partial(_version, line))
        _tolerant(partial(_constraint, line))


def _version(line: str) -> None:
    one = Version.parse(line)
    assert one == Version.parse(str(one))


def _constraint(line: str) -> None:
    one = Constraint.read(line)
    if one.name.startswith("so:"):
        # Versions of sonames are read as "0." and what is written.
        return
    assert Constraint.read(str(one)) == one


def yaml(data: bytes) -> None:
    """An image configuration."""
    parse_config(_text(data), "image.yaml")


def lock(data: bytes) -> None:
    """A lock file, which reads the same when written again."""
    found = Lock.parse(data, "x")
    assert Lock.parse(found.dump(), "x") == found


def solver(data: bytes) -> None:
    """A request in the first line, an index in the rest."""
    world, _, rest = data.partition(b"\n")
    found = Index(rest, source="x")
    if len(found) <= 64:
        resolve(_text(world).split()[:16], [RepositoryIndex("x", found)])


def manifest(data: bytes) -> None:
    """An OCI manifest or index, which reads the same when written again."""
    found = parse_manifest(data)
    again = parse_manifest(found.to_bytes(), found.media_type)
    assert type(again) is type(found)
    if isinstance(found, ImageIndex):
        assert again == found


def reference(data: bytes) -> None:
    """The name of an image."""
    found = Reference.parse(_text(data))
    assert Reference.parse(str(found)) == found


def bundle(data: bytes) -> None:
    """A sigstore bundle."""
    Bundle.parse(data)


def statement(data: bytes) -> None:
    """An in-toto statement."""
    Statement.parse(data)


def layer(data: bytes) -> None:
    """A layer of an image, plain or compressed."""
    LayerFiles("x").add(io.BytesIO(data), "sha256:0")


def documents(data: bytes) -> None:
    """Locks and SBOMs that are compared or scanned."""
    for read in (lambda: document_view("x", data, None), lambda: document_components(data, "x")):
        _tolerant(read)


def _tolerant(read: Callable[[], object]) -> None:
    try:
        read()
    except Error:
        return


def embedded(data: bytes) -> None:
    """The SPDX document that a package brings."""
    entry = Index(b"P:p\nV:1-r0\nA:x86_64\no:origin\n", source="x").named("p")[0]
    contents = Contents("ID=x", [Listed(entry, "0" * 64)], lambda _: data, [])
    subject = Subject("x", Arch.AMD64, "sha256:" + "1" * 64, 0, [])
    document = image_sbom(contents, subject)
    assert any(p["name"] == "p" for p in json.loads(document)["packages"])
    from_spdx(document)


def vulnerability_data(data: bytes) -> None:
    """Security databases, OSV records."""
    component = Component("apk", "p", "1-r0", "pkg:apk/wolfi/p@1-r0", "p", "wolfi")
    scan(ScanSubject("x", [component]), [Feed("x", data, "")], Judgement())


def vex(data: bytes) -> None:
    """OpenVEX documents."""
    parse_vex(data, "x")


def keystore(data: bytes) -> None:
    """Java's store of certificates, as it is and with a sound seal."""
    salt = jks.PASSWORD.encode("utf-16-be") + b"Mighty Aphrodite"
    sealed = data + hashlib.sha1(salt + data, usedforsecurity=False).digest()
    more = [("name", b"der")]
    _tolerant(lambda: jks.add_certificates(sealed, more, "x", in_order=True))
    jks.add_certificates(data, more, "x")


TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__.replace("_", "-"): target
    for target in (
        bundle, documents, embedded, index, index_text, installed, keystore, layer, lock, manifest,
        package, package_control, package_data, package_info, reference, scripts, solver,
        statement, tar, triggers, version, vex, vulnerability_data, yaml,
    )
}  # fmt: skip
for _more in (fuzz_evidence, fuzz_git, fuzz_images, fuzz_packages):
    TARGETS |= _more.TARGETS
