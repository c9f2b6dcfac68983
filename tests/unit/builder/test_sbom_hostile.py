"""Whatever packages say of themselves, documents are valid and name every package."""

from __future__ import annotations

import json

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from hypothesis import given, settings
from hypothesis import strategies as st
from packageurl import PackageURL
from spdx_tools.spdx.parser.parse_anything import parse_file
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

from plimsoll.apk.records import IndexEntry
from plimsoll.arch import Arch
from plimsoll.builder.cyclonedx import from_spdx
from plimsoll.builder.sbom import Subject, image_sbom, index_sbom
from plimsoll.builder.sbomsource import Contents, Listed, Loose
from plimsoll.builder.spdx import apk_purl
from plimsoll.oci.model import OCI_MANIFEST, Descriptor, Platform
from shared_data import shared

RELEASE = "ID=wolfi\nNAME=Wolfi\nVERSION_ID=20230201\n"
VALIDATOR = JsonStrictValidator(SchemaVersion.V1_6)
GOOD = json.loads(next(iter(sorted((shared("spdx") / "apk_sboms").glob("*.json")))).read_text())


@pytest.fixture(scope="module")
def check(tmp_path_factory):
    """Make an image's document, and have the official validators look at all forms of it."""
    path = tmp_path_factory.mktemp("sbom") / "sbom.spdx.json"

    def valid(data):
        path.write_bytes(data)
        assert validate_full_spdx_document(parse_file(str(path))) == []
        assert VALIDATOR.validate_str(from_spdx(data).decode()) is None

    def made(*packages, documents=None, loose=(), release=RELEASE, vcs_url="", base=None):
        found = [Listed(item, "ab" * 32) for item in packages]
        own = {f"{name}.spdx.json": data for name, data in (documents or {}).items()}
        warnings = []
        layers = [("sha256:" + "4" * 64, "application/vnd.oci.image.layer.v1.tar+gzip")]
        digest = "sha256:" + "3" * 64
        subject = Subject("reg/Some_app", Arch.AMD64, digest, 1, layers, vcs_url, base)
        data = image_sbom(Contents(release, found, own.get, loose), subject, warnings.append)
        platform = Platform(architecture="arm", variant="v7")
        image = Descriptor.of(b"m", OCI_MANIFEST, platform=platform)
        valid(data)
        valid(index_sbom("reg/app", "sha256:" + "6" * 64, [(image, data)], 1))
        value = json.loads(data)
        names = [(p["name"], p.get("versionInfo")) for p in value["packages"]]
        for item in packages:
            assert (item.name, item.version) in names
        return value, warnings

    return made


def entry(name="a", version="1-r0", **fields):
    return IndexEntry(name, version, **({"arch": "x86_64"} | fields))


def packages_of(value):
    return {p["SPDXID"]: p for p in value["packages"]}


LICENCES = [
    "",
    "NONE",
    "NOASSERTION",
    "custom",
    "MIT AND",
    "(MIT",
    "()",
    "MIT WITH MIT",
    "GPL-2.0 WITH x",
    "Classpath-exception-2.0",
    "LicenseRef-a b",
    "LicenseRef-ö",
    "LicenseRef-",
    "DocumentRef-x:y",
    "NONE AND MIT",
    "MIT/X11",
    "MIT, BSD",
    "MIT+",
    "日本",
    "---",
    "a" * 5000,
    "(" * 500,
    "MIT\x00",
    "BSD-3-Clause AND (custom:none OR x)",
    "mit and gpl-2.0",
    "LicenseRef-A+ OR MIT",
]
ADDRESSES = [
    "https://e.com/x",
    "http://",
    "://",
    "no address",
    "javascript:alert(1)",
    "http://[::1",
    "ftp://x y",
    "http://e.com/%zz",
    "https://e.com/\x00",
    'https://e.com/<>"{}|^`',
    "https://日本.jp/ü",
    "mailto://x",
    "https://" + "a" * 5000,
    "file:///etc",
    "http://localhost/x",
    "https://e.com:99999999/",
]


@pytest.mark.parametrize("text", LICENCES, ids=lambda text: repr(text[:20]))
def test_licences(check, text):
    check(entry(license=text))
    document = {**GOOD, "packages": [{**GOOD["packages"][0], "licenseDeclared": text}]}
    check(entry(), documents={"a": json.dumps(document).encode()})


@pytest.mark.parametrize("text", ADDRESSES, ids=lambda text: repr(text[:20]))
def test_addresses(check, text):
    first = {**GOOD["packages"][0], "homepage": text, "downloadLocation": text}
    check(entry(url=text), documents={"a": json.dumps({**GOOD, "packages": [first]}).encode()})


def test_logins_are_left_out(check):
    first = {**GOOD["packages"][0], "downloadLocation": "git+https://u:pw@e.com/x@abc"}
    value, warnings = check(
        entry(url="https://user:secret@e.com/x?y"),
        documents={"a": json.dumps({**GOOD, "packages": [first]}).encode()},
        vcs_url="https://u:token@e.com/r@" + "a" * 40,
    )
    text = json.dumps(value)
    assert not any(word in text for word in ("secret", "token", "u:pw"))
    assert "https://e.com/x?y" in text
    assert "git+https://e.com/x@abc" in text
    assert "downloadLocation" in warnings[0]


def test_control_characters_and_huge_fields(check):
    odd = "\x00\x1b[31m\n\u2028" + "x" * 100_000
    value, _ = check(
        entry(description=odd, origin=odd, commit=odd, maintainer=odd),
        entry("b", description="", license="", url="", arch="", origin=""),
        loose=[Loose("etc/\x01\n", "0" * 40, "1" * 64, "/t\x1b")],
        release="ID=\x00\nNAME='A (b) \x1b'\nVERSION_ID=\n",
    )
    assert not any(c in json.dumps(value, ensure_ascii=False) for c in "\x00\x1b\u2028")


def test_the_namespace_is_of_this_document(check):
    def namespace(**fields):
        return check(entry(**fields))[0]["documentNamespace"]

    assert namespace() == namespace()
    assert len({namespace(), namespace(license="MIT"), namespace(arch="")}) == 3


def test_names_that_identifiers_cannot_tell_apart(check):
    names = ["a_b", "a-b", "a+b", "a.b"]
    value, _ = check(*(entry(name) for name in names))
    assert len({p["SPDXID"] for p in value["packages"]}) == len(value["packages"])
    assert len([p for p in value["packages"] if p["name"] in names]) == 4


def test_a_document_cannot_speak_for_another_package(check):
    fake = {
        "SPDXID": "SPDXRef-Package-apk-b-1-r0",
        "name": "b",
        "versionInfo": "0",
        "downloadLocation": "NONE",
    }
    document = {**GOOD, "packages": [*GOOD["packages"], fake]}
    value, _ = check(entry(), entry("b"), documents={"a": json.dumps(document).encode()})
    (true,) = [p for p in value["packages"] if (p["name"], p["versionInfo"]) == ("b", "1-r0")]
    assert true["SPDXID"] == "SPDXRef-Package-apk-b-1-r0-2"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "no JSON"),
        (b"\xff", "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b"[]", "no JSON object"),
        (b"null", "no JSON object"),
        (b"{}", "cannot be used: KeyError"),
        (b'{"spdxVersion": "SPDX-3.0", "packages": []}', "version 'SPDX-3.0'"),
        (b'{"spdxVersion": "SPDX-2.3", "packages": [{}]}', "cannot be used"),
        (
            b'{"spdxVersion": "SPDX-2.3", "packages": [{"SPDXID": "x y", "name": "n"}]}',
            "identifier 'x y'",
        ),
        (
            b'{"spdxVersion": "SPDX-2.3", "packages":[{"SPDXID":"SPDXRef-DOCUMENT","name":"n"}]}',
            "identifier",
        ),
        (
            b'{"spdxVersion": "SPDX-2.3", "packages": [{"SPDXID": "SPDXRef-a", "name": ""}]}',
            "without a name",
        ),
    ],
)
def test_documents_that_cannot_be_used_are_told_of(check, data, message):
    value, warnings = check(entry(license="MIT"), documents={"a-1-r0": data})
    assert len(warnings) == 1
    assert warnings[0].startswith("a brings an SPDX document that")
    assert message in warnings[0]
    assert packages_of(value)["SPDXRef-Package-apk-a-1-r0"]["licenseDeclared"] == "MIT"


def test_values_that_are_none_are_left_out_and_told_of(check):
    bad = {
        "SPDXID": "SPDXRef-a",
        "name": "a",
        "versionInfo": "1-r0",
        "filesAnalyzed": True,
        "checksums": [
            {"algorithm": "SHA256", "checksumValue": "zz"},
            {"algorithm": "SHA1", "checksumValue": "A" * 40},
        ],
        "externalRefs": [
            {
                "referenceCategory": "SECURITY",
                "referenceType": "cpe23Type",
                "referenceLocator": "cpe:2.3:bad",
            },
            {
                "referenceCategory": "PACKAGE_MANAGER",
                "referenceType": "purl",
                "referenceLocator": "pkg:apk/wolfi/a@1-r0",
            },
        ],
        "supplier": "nobody",
        "primaryPackagePurpose": "WEAPON",
        "releaseDate": "2020",
        "hasFiles": ["x"],
        "licenseDeclared": "LicenseRef-unexplained",
        "copyrightText": "\ud800",
        "extra": 1,
        "summary": None,
        "description": 5,
        "annotations": [{}],
        "licenseInfoFromFiles": ["MIT"],
    }
    document = {
        "spdxVersion": "SPDX-2.3",
        "documentDescribes": ["SPDXRef-a"],
        "packages": [bad],
        "relationships": [
            {
                "spdxElementId": "SPDXRef-a",
                "relationshipType": "LIKES",
                "relatedSpdxElement": "SPDXRef-a",
            }
        ],
        "hasExtractedLicensingInfos": [{"licenseId": "bad id", "extractedText": "x"}],
    }
    value, warnings = check(entry(), documents={"a": json.dumps(document).encode()})
    made = packages_of(value)["SPDXRef-a"]
    assert made["checksums"] == [
        {"algorithm": "SHA1", "checksumValue": "a" * 40},
        {"algorithm": "SHA256", "checksumValue": "ab" * 32},
    ]
    assert [r["referenceType"] for r in made["externalRefs"]] == ["purl"]
    assert not {"primaryPackagePurpose", "extra", "hasFiles", "description"} & made.keys()
    assert made["supplier"] == "Organization: Wolfi"
    assert [x["licenseId"] for x in value["hasExtractedLicensingInfos"]] == [
        "LicenseRef-unexplained"
    ]
    assert "values that SPDX does not allow" in warnings[0]
    assert "more" in warnings[0]


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=8)
    | st.sampled_from([*LICENCES, *ADDRESSES, "SPDXRef-a", "SHA256", "purl", "CONTAINS"]),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2)
    ),
    max_leaves=4,
)
KEYS = sorted(
    {
        *GOOD["packages"][0],
        "checksums",
        "homepage",
        "comment",
        "attributionTexts",
        "builtDate",
        "sourceInfo",
        "SPDXID",
        "name",
    }
)


@settings(max_examples=20, deadline=None)
@given(st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=3), VALUES)
def test_any_value_at_any_place(check, changes, other):
    first = {**GOOD["packages"][0], **changes}
    for document in (
        {**GOOD, "packages": [first]},
        {**GOOD, "relationships": other},
        {
            **GOOD,
            "hasExtractedLicensingInfos": [{"licenseId": "LicenseRef-x", "extractedText": other}],
        },
    ):
        check(entry(), documents={"a": json.dumps(document).encode()})


def test_package_urls_say_what_scanners_look_for(check):
    def purl(**options):
        value, _ = check(entry("libssl3", origin="openssl"), **options)
        (found,) = [p for p in value["packages"] if p["name"] == "libssl3"]
        return found["externalRefs"][0]["referenceLocator"]

    assert purl(release="ID=alpine\nVERSION_ID=3.18.4\n") == (
        "pkg:apk/alpine/libssl3@1-r0?arch=x86_64&distro=alpine-3.18.4&upstream=openssl"
    )
    assert purl(release="") == "pkg:apk/unknown/libssl3@1-r0?arch=x86_64&upstream=openssl"


@pytest.mark.parametrize(
    ("name", "version", "arch"),
    [
        ("busybox", "1.36.1-r5", "x86_64"),
        ("libstdc++", "13.2_git20231014-r0", "aarch64"),
        ("so.name", "1:2~rc1-r0", ""),
        ("Upper_Case", "1+x", "armv7"),
    ],
)
def test_package_urls_are_canonical(name, version, arch):
    purl = apk_purl("Wolfi", name, version, arch)
    parsed = PackageURL.from_string(purl)
    assert (parsed.type, parsed.namespace, parsed.name) == ("apk", "wolfi", name.lower())
    assert parsed.version == version
    assert parsed.qualifiers == ({"arch": arch} if arch else {})
    assert PackageURL.from_string(parsed.to_string()) == parsed
