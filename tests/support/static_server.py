"""A read-only HTTP server of a directory (ranges, ETag): ``static_server DIR HOST PORT``."""

from __future__ import annotations

import sys
from pathlib import Path

from aiohttp import web


def main() -> None:
    """Serve until ended."""
    directory, host, port = sys.argv[1:]
    app = web.Application()
    app.router.add_static("/", Path(directory), follow_symlinks=True)
    web.run_app(app, host=host, port=int(port), print=None, access_log=None)


if __name__ == "__main__":
    main()
