"""How a photo has to be turned, by its EXIF block (CIPA DC-008, tag 0x0112)."""

from __future__ import annotations

import re
import struct
from pathlib import Path

UPRIGHT = 1
"""The orientation of a picture that is shown as it is stored."""

_ORIENTATION = 0x0112
_LOOKED_AT = 1 << 20  # bytes at either end of a file: JPEG has it first, WebP last, PNG may have both
_TIFF = re.compile(rb"(?:Exif\0\0|eXIf|EXIF.{4})(II\*\0|MM\0\*)", re.DOTALL)


def exif_orientation(path: Path) -> int:
    """The orientation, 1 to 8, that the first EXIF block of a picture file tells; 1 where there is none.

    OSError when the file cannot be read.
    """
    with path.open("rb") as file:
        data = file.read(_LOOKED_AT)
        size = file.seek(0, 2)
        if size > _LOOKED_AT:
            file.seek(max(_LOOKED_AT, size - _LOOKED_AT))
            data += file.read()
    found = _TIFF.search(data)
    if found is None:
        return UPRIGHT
    try:
        return _first_directory(data[found.start(1) :])
    except struct.error:  # cut off
        return UPRIGHT


def _first_directory(tiff: bytes) -> int:
    order = "<" if tiff.startswith(b"II") else ">"
    (start,) = struct.unpack_from(f"{order}I", tiff, 4)
    (n_entries,) = struct.unpack_from(f"{order}H", tiff, start)
    for place in range(start + 2, start + 2 + 12 * n_entries, 12):
        tag, _, _, value = struct.unpack_from(f"{order}HHIH", tiff, place)
        if tag == _ORIENTATION and UPRIGHT <= value <= 8:
            return int(value)
    return UPRIGHT
