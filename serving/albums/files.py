"""An album's files: found in a folder, named in another, and written whole or not at all."""

import os
import secrets
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from serving.photo import Format

_SUFFIXES = {  # of each format, the usual one first
    "png": (".png",),
    "jpeg": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "tiff": (".tif", ".tiff"),
    "webp": (".webp",),
}


@dataclass(frozen=True)
class Found:
    """A file of a folder: its name below the folder, and why it is left alone where it is."""

    name: str  # with forward slashes
    skipped: str = ""


def listed(folder: Path) -> list[Found]:
    """Every file below `folder` in the order of names. Links are not followed, hidden files and folders not opened.

    A folder that cannot be read is one of the files, with the reason; where it is `folder` itself, OSError is raised.
    """
    return [*_walked(folder, "")]


def hidden(name: str) -> bool:
    """Whether a name with slashes is what people's tools leave beside photographs, such as `.DS_Store`."""
    parts = PurePosixPath(name).parts
    return any(part.startswith(".") or part == "__MACOSX" for part in parts) or parts[-1].lower() in (
        "thumbs.db",
        "desktop.ini",
    )


def format_of(name: str, wanted: Format | None) -> Format:
    """The format in which a photograph is answered: `wanted`, or else its own where it is written here, or else PNG."""
    return wanted or _own_format(name) or Format.PNG


def outputs(names: Sequence[str], wanted: Format | None) -> list[str]:
    """The name that each photograph's picture has, its suffix that of its format; never twice the same.

    Where `a.jpg` and `a.tif` would both be `a.png`, the first in the order of names is, and the other is `a.tif.png`.
    Names that differ in case only are the same for some file systems, and so are here. A picture whose every name
    is taken gets the empty name.
    """
    natural = [_renamed(name, format_of(name, wanted)) for name in names]
    wishes = Counter(name.casefold() for name in natural)
    given: dict[str, str] = {}
    taken: set[str] = set()
    # Those that keep their names come first: what nobody must be renamed for, nobody is.
    for name, wish in sorted(zip(names, natural, strict=True), key=lambda pair: (pair[0] != pair[1], pair[0])):
        longer = name + _SUFFIXES[format_of(name, wanted)][0]
        choices = (wish, longer) if wishes[wish.casefold()] > 1 or wish.casefold() in taken else (wish,)
        given[name] = next((choice for choice in choices if choice.casefold() not in taken), "")
        taken.add(given[name].casefold())
    return [given[name] for name in names]


def write(path: Path, data: bytes, scratch: Path) -> None:
    """`data` as the file `path`, on disk when this returns; raises OSError and leaves what was there before.

    It is written in the folder `scratch` of the same file system first. No folder is made: one that was removed
    meanwhile must not come back.
    """
    partial = scratch / f"{os.getpid()}-{secrets.token_hex(8)}"
    try:
        with partial.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    sync(path.parent)


def sync(folder: Path) -> None:
    """The names in `folder` are on disk when this returns."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _walked(folder: Path, prefix: str) -> Iterator[Found]:
    with os.scandir(folder) as scan:
        entries = sorted(scan, key=lambda entry: entry.name)
    for entry in entries:
        name = prefix + entry.name
        if reason := next((reason for is_so, reason in _LEFT_ALONE if is_so(entry)), ""):
            yield Found(name, reason)
        elif not entry.is_dir(follow_symlinks=False):
            yield Found(name)
        else:
            try:
                yield from _walked(Path(entry.path), f"{name}/")
            except OSError as error:
                yield Found(name, f"the folder cannot be read: {error.strerror}")


_LEFT_ALONE: tuple[tuple[Callable[["os.DirEntry[str]"], bool], str], ...] = (
    (lambda entry: hidden(entry.name), "hidden, or left there by a file manager"),
    (lambda entry: entry.is_symlink(), "a link; links are not followed"),
    (
        lambda entry: not (entry.is_dir(follow_symlinks=False) or entry.is_file(follow_symlinks=False)),
        "no file: a pipe, socket or device",
    ),
)


def _own_format(name: str) -> Format | None:
    suffix = PurePosixPath(name).suffix.lower()
    return next((Format(form) for form, suffixes in _SUFFIXES.items() if suffix in suffixes), None)


def _renamed(name: str, form: Format) -> str:
    return name if _own_format(name) is form else str(PurePosixPath(name).with_suffix(_SUFFIXES[form][0]))
