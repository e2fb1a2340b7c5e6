"""What became of each photograph of an album: one record a photograph, and all of them as report.csv."""

import csv
import hashlib
import io
import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, replace
from enum import StrEnum
from pathlib import Path
from typing import Self


class Outcome(StrEnum):
    """The end of a photograph."""

    DONE = "done"
    REFUSED = "refused"  # the file's fault: it will be refused again
    FAILED = "failed"  # ours, or the disk's: another time it may go well
    SKIPPED = "skipped"  # no photograph was looked for in it
    MISSING = "missing"  # not reached


@dataclass(frozen=True)
class Record:
    """What became of one file."""

    file: str  # its name in the album
    outcome: Outcome
    reason: str = ""  # for people; of a photograph that is done, what they should know, such as "page 1 of 3"
    output: str = ""  # its picture's name; empty where it has none
    versions: tuple[str, ...] = ()  # what made the picture, such as restorer/3
    seconds: float = 0.0
    sha256: str = ""  # of the file
    output_sha256: str = ""  # of the picture
    order: str = ""  # what was asked for

    @classmethod
    def from_json(cls, text: bytes) -> Self:
        """The record that `as_json` wrote; ValueError where it is none."""
        values = json.loads(text)
        if not isinstance(values, dict) or set(values) != {field.name for field in fields(cls)}:
            raise ValueError(f"{text[:80]!r} is no record of a photograph")
        values["outcome"] = Outcome(values["outcome"])
        values["versions"] = tuple(values["versions"])
        return cls(**values)

    def as_json(self) -> bytes:
        """ASCII, whatever the file's name is."""
        return json.dumps(asdict(self)).encode()

    def taking(self, seconds: float) -> Self:
        """The same with its time, to the millisecond."""
        return replace(self, seconds=round(seconds, 3))


def read(path: Path) -> Record | None:
    """The record in the file `path`; None where there is none, or it is broken."""
    try:
        return Record.from_json(path.read_bytes())
    except (OSError, ValueError):
        return None


def place(folder: Path, file: str) -> Path:
    """Where the record of `file` is in a folder of records: names can be longer than a file's name may be."""
    key = hashlib.sha256(os.fsencode(file)).hexdigest()[:40]
    return folder / key[:2] / f"{key}.json"


def report(records: Iterable[Record]) -> bytes:
    """The records as CSV (RFC 4180) with a head line, UTF-8."""
    text = io.StringIO(newline="")
    sheet = csv.writer(text)
    sheet.writerow(("file", "outcome", "reason", "output", "versions", "seconds", "sha256", "output_sha256"))
    for record in records:
        sheet.writerow(
            (
                record.file,
                record.outcome,
                record.reason,
                record.output,
                " ".join(record.versions),
                f"{record.seconds:.3f}",
                record.sha256,
                record.output_sha256,
            )
        )
    # A name that is not UTF-8 is written as the bytes that it is on disk.
    return text.getvalue().encode("utf-8", "surrogateescape")
