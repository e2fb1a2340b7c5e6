"""A TIFF's chain of directories, walked before a decoder does: libtiff takes a minute for 700,000 empty pages."""

import struct

MOST_PAGES = 10_000


def pages(data: bytes, most: int = MOST_PAGES) -> int:
    """How many pages the file's chain of directories has (TIFF 6.0, page 14; BigTIFF), counted no further than `most`.

    A chain that runs out of the file ends there. Raises ValueError where there are more than `most`: a chain that
    returns to itself is endless.
    """
    order = "<" if data[:2] == b"II" else ">"
    big = data[2:4] in (b"+\x00", b"\x00+")
    count_type, count_bytes, entry_bytes, offset_type = ("Q", 8, 20, "Q") if big else ("H", 2, 12, "I")
    found, pointer = 0, 8 if big else 4
    while True:
        try:
            (start,) = struct.unpack_from(order + offset_type, data, pointer)
            if start == 0:
                return found
            (entries,) = struct.unpack_from(order + count_type, data, start)
        except struct.error:
            return found
        found += 1
        if found > most:
            raise ValueError(f"it has more than {most:,} pages")
        pointer = start + count_bytes + entry_bytes * entries
