"""The few requests that the harness itself makes."""

from __future__ import annotations

import http.client
import json
import ssl
import urllib.parse
from typing import TYPE_CHECKING, Any

from cluster.layout import ClusterError

if TYPE_CHECKING:
    from cluster.layout import Layout


class Client:
    """The API server as the administrator sees it, its certificate verified."""

    def __init__(self, layout: Layout) -> None:
        self._address = str(layout.network.node)
        self._tls = ssl.create_default_context(cafile=str(layout.pki / "ca.crt"))
        self._tls.load_cert_chain(layout.pki / "admin.crt", layout.pki / "admin.key")

    def get(self, path: str) -> dict[str, Any] | None:
        """An object by its path; None if there is none.

        Raises:
            ClusterError: the server refused.
            OSError: no connection.
        """
        status, body = self._request(path)
        if status == 404:
            return None
        if status != 200:
            raise ClusterError(f"GET {path}: {status} {body[:400].decode(errors='replace')}")
        found: dict[str, Any] = json.loads(body)
        return found

    def ok(self, path: str) -> bool:
        """Whether a health endpoint says 200."""
        return self._request(path)[0] == 200

    @staticmethod
    def answers(url: str) -> bool:
        """Whether a server says 200, or asks for a login; False if it cannot be spoken to."""
        parts = urllib.parse.urlsplit(url)
        kind = (
            http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        )
        connection = kind(parts.netloc, timeout=5)
        try:
            connection.request("GET", parts.path)
            return connection.getresponse().status in {200, 401}
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _request(self, path: str) -> tuple[int, bytes]:
        connection = http.client.HTTPSConnection(self._address, 6443, timeout=5, context=self._tls)
        try:
            connection.request("GET", path, headers={"Accept": "application/json"})
            answer = connection.getresponse()
            return answer.status, answer.read()
        except http.client.HTTPException as error:
            raise ConnectionError(str(error)) from error
        finally:
            connection.close()
