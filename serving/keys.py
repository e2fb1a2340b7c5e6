"""Who may use the service: a file of named keys, of which it holds only the hashes.

`python -m serving.keys add NAME --file keys.json` makes a key and prints it, once.

A key is 256 random bits, so its SHA-256 is as good as a password's scrypt: slowness and salt protect what people choose
and others can guess or find in tables, and nobody can guess this. A slow hash would cost every request a tenth of a
second of a core, also those of a stranger who sends nonsense.
"""

import argparse
import hashlib
import hmac
import json
import logging
import os
import re
import secrets
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

logger = logging.getLogger("ray.serve")

DEFAULT_RATE = 60
_PREFIX = "autochrome_"  # so that a scanner for leaked secrets can tell what it found
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class KeysError(Exception):
    """The file of keys cannot be used as it is."""


@dataclass(frozen=True)
class Key:
    """One entry of the file."""

    name: str  # in logs
    sha256: str  # of the key, 64 hexadecimal digits
    rate: int  # requests a minute that make work
    made: str  # day, ISO 8601


_ENTRIES = TypeAdapter(list[Key])


class Keys:
    """The file, read again whenever it changes. A change that cannot be read is logged, and what was read stays."""

    def __init__(self, path: Path) -> None:
        """Raises KeysError where the file cannot be read or has no key: then nobody could use the service."""
        self._path = path
        self._seen = _state(path)
        self._keys = load(path)
        if not self._keys:
            raise KeysError(f"{path} has no key; `python -m serving.keys add NAME --file {path}` makes one")

    def find(self, presented: str) -> Key | None:
        """The entry whose key was presented. Takes as long for a wrong key as for the last or the first right one."""
        self._refresh()
        digest = _sha256(presented)
        found = None
        for key in self._keys:
            if hmac.compare_digest(key.sha256, digest):
                found = key
        return found

    def _refresh(self) -> None:
        state = _state(self._path)
        if state == self._seen:
            return
        self._seen = state
        try:
            self._keys = load(self._path)
        except KeysError as error:
            logger.error(f"the keys stay as they were: {error}")
        else:
            logger.info(f"{self._path} is read again: {len(self._keys)} keys")


def load(path: Path) -> list[Key]:
    """The entries of the file; raises KeysError."""
    try:
        keys = _ENTRIES.validate_json(path.read_bytes())
    except OSError as error:
        raise KeysError(f"{path} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise KeysError(f"{path} is no file of keys: {where}: {first['msg']}") from error
    names = [key.name for key in keys]
    for key in keys:
        _check(key, path)
        if names.count(key.name) > 1:
            raise KeysError(f"{path} has {names.count(key.name)} keys named {key.name}; it must have one")
    return keys


def add(path: Path, name: str, rate: int) -> str:
    """A new key, which is returned and kept nowhere; its hash goes to the file. Raises KeysError."""
    keys = load(path) if path.exists() else []
    if any(key.name == name for key in keys):
        raise KeysError(f"{path} has a key named {name} already; remove it first")
    secret = _PREFIX + secrets.token_urlsafe(32)
    key = Key(name, _sha256(secret), rate, datetime.now(UTC).date().isoformat())
    _check(key, path)
    _save(path, [*keys, key])
    return secret


def remove(path: Path, name: str) -> None:
    """Without the key named `name`; a running service refuses it from its next request on. Raises KeysError."""
    keys = load(path)
    rest = [key for key in keys if key.name != name]
    if len(rest) == len(keys):
        raise KeysError(f"{path} has no key named {name}; it has {', '.join(key.name for key in keys) or 'none'}")
    _save(path, rest)


def main(arguments: Sequence[str] | None = None) -> int:
    """What `python -m serving.keys` does."""
    parser = argparse.ArgumentParser(prog="python -m serving.keys", description="The keys that the service asks for")
    verbs = parser.add_subparsers(dest="verb", required=True)
    adding = verbs.add_parser("add", help="make a key and print it, once")
    adding.add_argument("name")
    adding.add_argument("--rate", type=int, default=DEFAULT_RATE, help="requests a minute (default: %(default)s)")
    removing = verbs.add_parser("remove", help="take a key back")
    removing.add_argument("name")
    listing = verbs.add_parser("list", help="names, rates and days")
    for verb in (adding, removing, listing):
        verb.add_argument("--file", type=Path, required=True)
    chosen = parser.parse_args(arguments)
    try:
        _do(chosen)
    except KeysError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _do(chosen: argparse.Namespace) -> None:
    match chosen.verb:
        case "add":
            print(add(chosen.file, chosen.name, chosen.rate))
        case "remove":
            remove(chosen.file, chosen.name)
        case "list":
            for key in load(chosen.file):
                print(f"{key.name}\t{key.rate} a minute\t{key.made}")


def _check(key: Key, path: Path) -> None:
    if not _NAME.fullmatch(key.name):
        raise KeysError(f"{path}: the name is {key.name!r}; it must be up to 64 of A-Z, a-z, 0-9, '.', '_' and '-'")
    if not re.fullmatch(r"[0-9a-f]{64}", key.sha256):
        raise KeysError(f"{path}: the sha256 of {key.name} has {len(key.sha256)} characters; it must be 64 of 0-9a-f")
    if key.rate < 1:
        raise KeysError(f"{path}: the rate of {key.name} is {key.rate}; it must be 1 or more a minute")


def _save(path: Path, keys: Sequence[Key]) -> None:
    """All at once, and for its owner alone."""
    handle, name = tempfile.mkstemp(dir=path.absolute().parent, prefix=f".{path.name}.")
    with os.fdopen(handle, "w") as file:
        json.dump([asdict(key) for key in keys], file, indent=2)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    Path(name).replace(path)


def _sha256(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="surrogatepass")).hexdigest()


def _state(path: Path) -> tuple[int, int, int] | None:
    """Changes when the file does."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


if __name__ == "__main__":
    sys.exit(main())
