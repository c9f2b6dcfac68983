"""Reading layers that others made: strict about what could mislead, patient with odd writers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plimsoll.apk.tarfmt import TarReader, Type

if TYPE_CHECKING:
    from plimsoll.apk.tarfmt import Header


class LayerReader(TarReader):
    """A ``TarReader`` that takes what container runtimes take.

    Names need not be UTF-8, times may lie before 1970, and what is no file has no content,
    whatever its header says.
    """

    def _text(self, raw: bytes) -> str:
        return raw.decode(errors="backslashreplace")

    def _apply(self, header: Header, records: dict[str, bytes]) -> None:
        if header.type is not Type.FILE:
            header.size = 0
            records = {key: value for key, value in records.items() if key != "size"}
        if records.get("mtime", b"").startswith(b"-"):
            records = {**records, "mtime": b"0"}
        super()._apply(header, records)
