"""The SPDX 2.3 document that a package carries about itself."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from plimsoll.apk.packageinfo import PackageInfo


def document(
    info: PackageInfo,
    *,
    debian_version: str,
    debian_arch: str,
    source: str,
    extracted: dict[str, str],
    date: int,
) -> bytes:
    """The document, the same bytes for the same package."""
    full = f"{info.name}-{info.version}"
    identifier = f"SPDXRef-Package-{re.sub('[^A-Za-z0-9.-]', '-', full)}"
    created = datetime.fromtimestamp(date, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    purls = [
        f"pkg:deb/debian/{quote(info.name)}@{quote(debian_version, safe='')}?arch={debian_arch}",
        f"pkg:apk/debian/{quote(info.name)}@{quote(info.version, safe='')}?arch={info.arch}",
    ]
    content: dict[str, Any] = {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": f"apk-{full}",
        "documentNamespace": f"https://spdx.org/spdxdocs/debian/{info.arch}/{quote(full)}",
        "creationInfo": {"created": created, "creators": ["Tool: debian-apk"]},
        "documentDescribes": [identifier],
        "packages": [
            {
                "SPDXID": identifier,
                "name": info.name,
                "versionInfo": info.version,
                "supplier": "Organization: Debian",
                "originator": "Organization: Debian",
                "downloadLocation": "NOASSERTION",
                "filesAnalyzed": False,
                "licenseConcluded": "NOASSERTION",
                "licenseDeclared": info.license or "NOASSERTION",
                "copyrightText": "NOASSERTION",
                "summary": info.description,
                "sourceInfo": f"built from Debian source package {source}",
                "externalRefs": [
                    {
                        "referenceCategory": "PACKAGE-MANAGER",
                        "referenceType": "purl",
                        "referenceLocator": purl,
                    }
                    for purl in purls
                ],
            }
        ],
        "relationships": [
            {
                "spdxElementId": "SPDXRef-DOCUMENT",
                "relationshipType": "DESCRIBES",
                "relatedSpdxElement": identifier,
            }
        ],
    }
    if extracted:
        content["hasExtractedLicensingInfos"] = [
            {
                "licenseId": reference,
                "name": name,
                "extractedText": f"{name}: see the package's copyright file",
            }
            for reference, name in sorted(extracted.items())
        ]
    return json.dumps(content, indent=2, ensure_ascii=False).encode() + b"\n"
