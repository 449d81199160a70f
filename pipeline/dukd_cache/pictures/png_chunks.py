"""What a PNG says of its orientation after its pixels, where Pillow looks only once it has decoded them."""

import os
import zlib
from typing import IO

_LONGEST = 1 << 20

_EXIF, _XMP, _RAW_EXIF = "exif", "XML:com.adobe.xmp", "Raw profile type exif"


def late_facts(stream: IO[bytes]) -> dict[str, bytes | str]:
    """EXIF and XMP, by Pillow's names for them; leaves the stream where it was.

    Raises:
        Exception: damaged chunks.
    """
    found: dict[str, bytes | str] = {}
    start = stream.tell()
    try:
        stream.seek(8)
        while len(head := stream.read(8)) == 8 and head[4:] != b"IEND":
            length, kind = int.from_bytes(head[:4]), head[4:]
            if kind not in (b"eXIf", b"iTXt", b"tEXt", b"zTXt"):
                stream.seek(length + 4, os.SEEK_CUR)
                continue
            content = stream.read(min(length, _LONGEST))
            stream.seek(length - len(content) + 4, os.SEEK_CUR)
            if kind == b"eXIf":
                found.setdefault(_EXIF, content)
            elif text := _text(kind, content):
                found.setdefault(*text)
        return found
    finally:
        stream.seek(start)


def _text(kind: bytes, content: bytes) -> tuple[str, str] | None:
    """Key and text of a chunk that may tell an orientation (PNG, third edition, 11.3.3)."""
    name, _, rest = content.partition(b"\0")
    key = name.decode("latin-1")
    if key not in (_XMP, _RAW_EXIF):
        return None
    packed = kind == b"zTXt" or (kind == b"iTXt" and rest[:1] == b"\1")
    if kind == b"zTXt":
        rest = rest[1:]
    elif kind == b"iTXt":
        rest = rest[2:].split(b"\0", 2)[2]
    if packed:
        rest = zlib.decompressobj().decompress(rest, _LONGEST)
    return key, rest.decode("utf-8", "replace")
