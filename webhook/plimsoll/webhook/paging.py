"""Lists of the API server, page by page, so that no more than one page is held."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from plimsoll.kube.client import KubeClient

#: Objects of one answer: pods are large.
_PAGE = 100


async def pages(api: KubeClient, path: str, query: str) -> AsyncIterator[dict[str, Any]]:
    """Every object of a collection.

    Args:
        api: the session.
        path: of the collection.
        query: selectors, encoded.

    Raises:
        KubeError: the API server refused or did not answer.
    """
    token = ""
    while True:
        more = f"&continue={token}" if token else ""
        page = await api.get(f"{path}?{query}&limit={_PAGE}{more}")
        for item in page.get("items") or []:
            yield item
        token = (page.get("metadata") or {}).get("continue") or ""
        if not token:
            return
