"""How an APK repository lies in an OCI repository; see the ADR "Packages as OCI artifacts".

``oci://HOST/PATH`` is the repository's URL. Below it, every file that an APK repository has over
HTTP (``ARCH/APKINDEX.tar.gz``, ``ARCH/NAME-VERSION.apk``) is one artifact with one layer, the
file's bytes as they are, under a tag made from its path.
"""

from __future__ import annotations

import hashlib
import re
from urllib.parse import unquote, urlsplit

from plimsoll.errors import Error
from plimsoll.oci.reference import Reference

INDEX_TYPE = "application/vnd.plimsoll.apk.index.v1.tar+gzip"
PACKAGE_TYPE = "application/vnd.plimsoll.apk.package.v1"
INDEX_FILE = "APKINDEX.tar.gz"
_MAX_TAG = 128
_PLAIN = re.compile(r"[^A-Za-z0-9.-]")


class OciRepositoryError(Error):
    """A repository in a registry that is not laid out as it must be."""

    reason = "RepositoryUnavailable"


def file_tag(arch: str, file_name: str) -> str:
    """The tag of a file of a repository; no two files share one.

    Letters, digits, dots and dashes stand for themselves, all else is ``_`` and two hex digits per
    byte; a tag that would be too long for a registry is a hash.

    Args:
        arch: APK name.
        file_name: ``APKINDEX.tar.gz`` or ``NAME-VERSION.apk``.
    """
    name = "index" if file_name == INDEX_FILE else f"apk.{_plain(file_name)}"
    tag = f"{_plain(arch)}.{name}"
    if len(tag) <= _MAX_TAG and re.match(r"[A-Za-z0-9]", tag):
        return tag
    return f"sha256.{hashlib.sha256(f'{arch}/{file_name}'.encode()).hexdigest()}"


def build_tag(arch: str, name: str) -> str:
    """The tag of the record of a configuration's last build; as ``file_tag``.

    Args:
        arch: APK name.
        name: of the configuration's main package.
    """
    tag = f"{_plain(arch)}.build.{_plain(name)}"
    if len(tag) <= _MAX_TAG:
        return tag
    return f"sha256.{hashlib.sha256(f'{arch}/build/{name}'.encode()).hexdigest()}"


def _plain(text: str) -> str:
    def escaped(match: re.Match[str]) -> str:
        return "".join(f"_{byte:02X}" for byte in match[0].encode())

    return _PLAIN.sub(escaped, text)


def file_reference(url: str) -> tuple[Reference, str]:
    """The artifact, and the media type of its layer, of ``oci://HOST/PATH/ARCH/FILE``.

    Raises:
        OciRepositoryError, InvalidReferenceError: it is no such URL.
    """
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise OciRepositoryError(f"this is no URL: {error}") from None
    place, _, file_name = f"{parts.netloc}{parts.path}".rpartition("/")
    place, _, arch = place.rpartition("/")
    if parts.scheme != "oci" or "@" in parts.netloc or "/" not in place or not arch:
        raise OciRepositoryError(
            "this is no file of a repository in a registry",
            hint="write oci://HOST/PATH, with the login in docker's configuration",
        )
    kind = INDEX_TYPE if file_name == INDEX_FILE else PACKAGE_TYPE
    reference = Reference.parse(place)
    if reference.repository.startswith(f"{parts.netloc}/"):
        # Names of images begin with a host only if it has a dot or a port.
        raise OciRepositoryError(
            f"oci://{parts.netloc}/… does not say which registry",
            hint=f"write its port, as in oci://{parts.netloc}:443/…, or its whole name",
        )
    return reference.with_tag(file_tag(arch, unquote(file_name))), kind
