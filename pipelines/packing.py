"""What a prepared set looks like on disk: Arrow shards of encoded photographs beside a manifest."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

Split = Literal["train", "validation", "test"]

SHARD = pa.schema(
    [
        ("index", pa.int32()),
        ("photo", pa.binary()),
        ("split", pa.string()),
        ("labels", pa.list_(pa.string())),
        ("source", pa.string()),
        ("sha256", pa.string()),
    ]
)
PAIRED_SHARD = SHARD.append(pa.field("given", pa.binary()))  # the picture that each photograph is the answer to
MANIFEST = pa.schema(
    [
        ("source", pa.string()),
        ("sha256", pa.string()),
        ("split", pa.string()),
        ("labels", pa.list_(pa.string())),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("kept", pa.bool_()),
        ("reason", pa.string()),
    ]
)


@dataclass(frozen=True)
class Row:
    """A photograph's line in the manifest."""

    source: str  # path inside data/
    sha256: str  # of the raw bytes
    split: Split
    labels: list[str]
    width: int  # of the raw photograph, 0 where it cannot be read
    height: int
    kept: bool
    reason: str  # `kind: detail`, empty where it is kept


class Shards:
    """Writes kept photographs as they come; each shard holds one split, so that a split is read without the others."""

    def __init__(self, folder: Path, photographs: int) -> None:
        self._folder = folder
        self._photographs = photographs
        self._waiting: defaultdict[Split, list[dict[str, Any]]] = defaultdict(list)
        self._added = self._written = 0

    def add(self, row: Row, photo: bytes, given: bytes) -> None:
        """Takes one more photograph, encoded; `given`, the picture that it is the answer to, is empty without pairs."""
        shared = {name: getattr(row, name) for name in ("split", "labels", "source", "sha256")}
        self._waiting[row.split].append({"index": self._added, "photo": photo, "given": given, **shared})
        self._added += 1
        if len(self._waiting[row.split]) == self._photographs:
            self._write(row.split)

    def close(self) -> None:
        """Writes what is waiting for a full shard."""
        for split in sorted(self._waiting):
            if self._waiting[split]:
                self._write(split)

    def _write(self, split: Split) -> None:
        path = self._folder / f"shard-{self._written:05}.arrow"
        schema = PAIRED_SHARD if self._waiting[split][0]["given"] else SHARD
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, schema) as writer:
            writer.write_table(pa.Table.from_pylist(self._waiting[split], schema))
        self._waiting[split].clear()
        self._written += 1


def write_manifest(rows: Iterable[Row], path: Path) -> None:
    """One line for every photograph that was looked at, kept or not."""
    pq.write_table(pa.Table.from_pylist([asdict(row) for row in rows], MANIFEST), path)
