"""``python -m debian_apk --out DIR``: make a signed APK repository of Debian packages."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from debian_apk.apt import AptError
from debian_apk.convert import ARCHS
from debian_apk.packages import UnknownPackageError
from debian_apk.repository import SETS, build

_CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "plimsoll" / "debian"


def main() -> int:
    """Parse the command line, build, print what was made."""
    parser = argparse.ArgumentParser(prog="debian_apk", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="where the repository is written")
    parser.add_argument(
        "--packages",
        default="demo",
        help=f"comma-separated Debian packages, or the sets {', '.join(SETS)} (default: demo)",
    )
    parser.add_argument("--archs", default="amd64,arm64", help="default: amd64,arm64")
    parser.add_argument("--cache", type=Path, default=_CACHE, help=f"default: {_CACHE}")
    parser.add_argument("--key-name", default="plimsoll-demo.rsa.pub", help="of the public key")
    parser.add_argument("--docs", action="store_true", help="keep documentation and translations")
    options = parser.parse_args()
    archs = options.archs.split(",")
    if unknown := [arch for arch in archs if arch not in ARCHS]:
        parser.error(f"unknown architecture {unknown[0]}: use {', '.join(ARCHS)}")
    start = time.monotonic()
    try:
        report = build(
            options.out.resolve(),
            options.packages.split(","),
            archs,
            options.cache.resolve(),
            key_name=options.key_name,
            docs=options.docs,
        )
    except UnknownPackageError as error:
        print(f"error: no configured apt source has the package {error}", file=sys.stderr)
        return 1
    except AptError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for arch, count in report.packages.items():
        print(f"{options.out}/{arch}: {count} packages, {report.size[arch] / 1e6:.1f} MB")
    print(
        f"key {report.key}; {report.converted} packages converted, {time.monotonic() - start:.1f} s"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
