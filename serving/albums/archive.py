"""The zip that a client sends, which is not to be believed, and the zip that it gets back."""

import asyncio
import io
import stat
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from zipfile import BadZipFile, ZipFile, ZipInfo

from serving.albums.files import hidden
from serving.refusal import Refusal

_RATIO = 250  # bytes unpacked of one packed: scans with wide white borders reach 50, zeros 1000
_LONGEST_NAME = 1024  # characters
_LONGEST_PART = 255  # bytes: what file systems have for a name
_PER_ENTRY = 4096  # bytes of the zip's list of contents that one entry may take
_CHUNK = 1 << 20  # bytes
_HEADER = 30  # bytes before each entry at least
_ENCRYPTED = 0x2041  # flags: an entry, strongly, or the list of contents
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


@dataclass(frozen=True)
class ZipLimits:
    """What a zip may hold."""

    entries: int
    photo_bytes: int  # of one photograph, unpacked
    unpacked_bytes: int  # of all


@dataclass(frozen=True)
class Contents:
    """What a checked zip holds."""

    names: tuple[str, ...]  # of what is taken for photographs, with forward slashes; entries in their order
    left_out: tuple[str, ...]  # hidden files and what else no one sends on purpose


def checked(path: Path, limits: ZipLimits) -> Contents:
    """What the zip holds, by its own list of contents alone; raises Refusal 413, 415 or 422 that names what is wrong.

    Nothing is unpacked. What the list says of sizes is held to when an entry is read.
    """
    with _opened(path, limits.entries) as archive:
        entries = [info for info in archive.infolist() if not info.filename.endswith(("/", "\\"))]
        if len(entries) > limits.entries:
            raise Refusal(413, "too_many_photographs", f"album has {len(entries):,} files; at most {limits.entries:,}")
        _check_sizes(entries, limits)
        _check_overlaps(entries, archive.start_dir)
        for info in entries:
            _check(info)
    names = [name_of(info) for info in entries]
    _check_twins(names)
    photographs = tuple(name for name in names if not hidden(name))
    if not photographs:
        raise Refusal(422, "no_photographs", "album holds no file; it must hold photographs")
    return Contents(photographs, tuple(name for name in names if hidden(name)))


def unpacked(path: Path, name: str, limits: ZipLimits) -> bytes:
    """The bytes of the entry `name` of a checked zip; raises Refusal 400 where it is damaged or not as it said."""
    with _opened(path, limits.entries) as archive:
        info = next(info for info in archive.infolist() if name_of(info) == name)
        try:
            with archive.open(info) as file:
                data = file.read(limits.photo_bytes + 1)
                file.read(1)  # at the end, where the sum is checked
        except (BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
            raise Refusal(400, "damaged", f"{name} is damaged in the album: {error}") from error
    if len(data) > limits.photo_bytes:
        raise _too_much(f"{name} has over {limits.photo_bytes:,} bytes, the most that is taken")
    return data


def name_of(info: ZipInfo) -> str:
    """An entry's name with forward slashes, whatever made the zip."""
    return str(PurePosixPath(info.filename.replace("\\", "/")))


async def packed(files: Iterable[tuple[str, Path | bytes]]) -> AsyncIterator[bytes]:
    """A zip of the files (name, its content or where it is) in pieces, made as they are taken; raises OSError.

    Pictures are packed already, so they are stored as they are.
    """
    pipe = _Pipe()
    with ZipFile(pipe, "w") as archive:
        for name, content in files:
            with _source(content) as source:
                info = ZipInfo(name)
                info.external_attr = (stat.S_IFREG | 0o644) << 16
                info.file_size = source.seek(0, io.SEEK_END)  # for it to choose zip64 where it must
                source.seek(0)
                with archive.open(info, "w") as target:
                    while chunk := await asyncio.to_thread(source.read, _CHUNK):
                        target.write(chunk)
                        yield pipe.taken()
    yield pipe.taken()


class _Pipe(io.RawIOBase):
    """What a zip is written to: it keeps what was not taken yet."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: "bytes | bytearray | memoryview") -> int:  # type: ignore[override]
        self._pieces.append(bytes(data))
        return len(data)

    def taken(self) -> bytes:
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)


class _Narrow(io.FileIO):
    """A file of which nobody reads much at once: a zip's list of contents is read whole, however long it says it is."""

    def __init__(self, path: Path, most: int) -> None:
        super().__init__(path)
        self._most = most
        self._size = path.stat().st_size

    def read(self, size: int | None = -1) -> bytes:
        if size is None or size < 0:
            size = self._size - self.tell()
        if size > self._most:
            raise Refusal(413, "too_many_photographs", "album's list of contents is longer than its files can need")
        return super().read(size) or b""


@contextmanager
def _opened(path: Path, entries: int) -> Iterator[ZipFile]:
    with _Narrow(path, max(_CHUNK, entries * _PER_ENTRY)) as file:
        try:
            archive = ZipFile(file)
        except (BadZipFile, ValueError, OverflowError, NotImplementedError, struct.error) as error:
            raise Refusal(415, "not_a_zip", f"album is no zip, or it is broken or cut short: {error}") from error
        with archive:
            yield archive


def _source(content: Path | bytes) -> "io.BufferedReader | io.BytesIO":
    return io.BytesIO(content) if isinstance(content, bytes) else content.open("rb")


def _check_sizes(entries: list[ZipInfo], limits: ZipLimits) -> None:
    total = sum(info.file_size for info in entries)
    if total > limits.unpacked_bytes:
        raise _too_much(f"album has {total:,} bytes unpacked; at most {limits.unpacked_bytes:,} are taken")
    for info in entries:
        if info.file_size > limits.photo_bytes:
            raise _too_much(f"{info.filename!r} has {info.file_size:,} bytes; at most {limits.photo_bytes:,} are taken")
        if info.file_size > _CHUNK and info.file_size > _RATIO * info.compress_size:
            raise _too_much(
                f"{info.filename!r} is packed {info.file_size // max(1, info.compress_size):,} times smaller"
            )


def _check_overlaps(entries: list[ZipInfo], end: int) -> None:
    """Entries that share their bytes are how 40 KB unpack to gigabytes (Fifield 2019, A better zip bomb)."""
    for info in sorted(entries, key=lambda info: info.header_offset, reverse=True):
        if info.header_offset + _HEADER + info.compress_size > end:
            raise Refusal(422, "overlapping", f"{info.filename!r} lies over other bytes of the album")
        end = info.header_offset


def _check(info: ZipInfo) -> None:
    name = name_of(info)
    if info.flag_bits & _ENCRYPTED:
        raise Refusal(422, "encrypted", f"{name!r} is encrypted; an album must be without a password")
    if info.compress_type not in _METHODS:
        raise Refusal(
            422, "packing", f"{name!r} is packed by method {info.compress_type}; it must be stored or deflated"
        )
    parts = name.split("/")
    outside = name in ("", ".") or name.startswith("/") or ".." in parts or name[1:2] == ":"
    if outside or any(ord(character) < ord(" ") for character in name):
        raise Refusal(422, "unsafe_name", f"{name!r} is no name of a file below the album's folder")
    if len(name) > _LONGEST_NAME or any(len(part.encode()) > _LONGEST_PART for part in parts):
        raise Refusal(422, "long_name", f"{name[:80]!r}... is longer than names of files may be")


def _check_twins(names: list[str]) -> None:
    name, count = Counter(names).most_common(1)[0] if names else ("", 0)
    if count > 1:
        raise Refusal(422, "same_name", f"album has {count} files named {name!r}; every name must be another")


def _too_much(message: str) -> Refusal:
    return Refusal(413, "too_many_bytes", message)
