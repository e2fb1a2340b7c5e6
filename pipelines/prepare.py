"""Raw photographs -> checked, cropped, packed shards and a manifest: `python -m pipelines.prepare <set>`.

The driver walks the photographs in an order drawn by the seed, sends their bytes out in chunks and takes the answers
in the same order, so what is written is the same on one core or on a cluster that shares no disk.
"""

import argparse
import hashlib
import json
import logging
import os
import sys
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import ray
from tqdm import tqdm

from pipelines import sources
from pipelines.decode import Looked, look, look_at_pair
from pipelines.packing import Row, Shards, Split, write_manifest
from pipelines.params import Prepare, categories_params, pairing_params, prepare_params
from pipelines.sources import Source
from pipelines.stage import StageError, fresh_folder, leave_on_sigterm, stage

DATA = Path("data")
PREPARED = Path("build/prepared")
SETS = ("imagenet", "coco", "more", "old", "pairs")
CHUNK = 32  # photographs in one task, fewer where they are large
CHUNK_BYTES = 16 << 20
Raw = tuple[bytes, bytes | None]  # a file, and the file of the picture that it is the answer to
LONGEST = 256 << 20  # bytes read of one file: what is longer is no photograph, and left out as truncated


def main() -> None:
    """Prepares the set that the command line names."""
    parser = argparse.ArgumentParser(description="Check, crop and pack raw photographs.")
    parser.add_argument("set", choices=SETS)
    name = parser.parse_args().set
    with stage(f"prepare@{name}"):
        from pipelines import tracking  # Ray's workers import this module and need no MLflow

        with tracking.stage_run(f"prepare@{name}") as run_id:
            params, found = prepare_params(name), listed(name, DATA)
            with fresh_folder(PREPARED / name) as folder:
                if found:
                    with _ray():
                        prepare(name, params, found, folder)
                else:
                    print(f"prepare@{name}: {DATA / name} is absent or empty; nothing is prepared", file=sys.stderr)
                    # Not quite empty: DVC warns of empty folders at every stage that reads them.
                    (folder / "report.json").write_text(json.dumps({"set": name, "found": 0}) + "\n", encoding="utf-8")
            tracking.log_report(run_id, json.loads((PREPARED / name / "report.json").read_text(encoding="utf-8")))


def listed(name: str, data: Path) -> list[Source]:
    """Every photograph that the set might have; StageError where `data` is not laid out as it must be."""
    if name == "coco":
        return sources.coco(data, categories_params().categories)
    if name == "pairs":
        return sources.pairs(data) or _unpaired(data)
    return {"imagenet": sources.imagenet, "more": sources.more, "old": sources.old}[name](data)


def _unpaired(data: Path) -> list[Source]:
    """The photographs whose pairs are made where `data` has no pairs."""
    wanted = pairing_params().edges_of
    return listed(wanted, data) if wanted else []


def prepare(name: str, params: Prepare, found: Sequence[Source], folder: Path) -> None:
    """Writes shards, manifest.parquet and report.json into the empty `folder`.

    The photographs kept are the first `params.photographs` good ones in the order drawn. Ray must be running. Raises
    StageError where there is not one, or where a worker dies.
    """
    rows = _pack(name, found, params, folder)
    left_out = _left_out(rows)
    kept = sum(row.kept for row in rows)
    said = f"{kept} of {len(rows)} photographs kept; left out: {left_out or 'none'}"
    if not kept:
        raise StageError(f"{said}; data/{name} must hold photographs that prepare.{name} of params.yaml lets through")
    splits = Counter(row.split for row in rows if row.kept)
    report = {
        "set": name,
        "size": params.size,
        "asked": params.photographs,
        "found": len(found),
        "looked_at": len(rows),
        "kept": kept,
        "splits": {split: splits[split] for split in ("train", "validation", "test")},
        "left_out": left_out,
    }
    write_manifest(rows, folder / "manifest.parquet")
    (folder / "report.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(f"prepare@{name}: {said}", file=sys.stderr)


def drawn(found: Iterable[Source], seed: int) -> list[Source]:
    """The sources in an order of (seed, source) alone: one photograph more changes the order of no two others."""

    def place(source: Source) -> tuple[bytes, str]:
        return hashlib.blake2b(f"{seed}/{source.name}".encode(), digest_size=16).digest(), source.name

    return sorted(found, key=place)


def split_of(sha256: str, validation: float, test: float) -> Split:
    """The split of a photograph, by its content: the same in every set, whatever photographs are beside it."""
    place = int(sha256[:13], 16) / 16**13
    if place < test:
        return "test"
    return "validation" if place < test + validation else "train"


def _pack(name: str, found: Sequence[Source], params: Prepare, folder: Path) -> list[Row]:
    """Writes the shards; returns the rows of the manifest."""
    shards = Shards(folder, params.shard)
    seen: dict[str, str] = {}
    rows: list[Row] = []
    with tqdm(total=min(params.photographs, len(found)), desc="photographs", unit="") as progress:
        for source, looked in _looked(drawn(found, params.seed), params, paired=name == "pairs"):
            row = _judged(source, looked, params, seen)
            rows.append(row)
            if row.kept:
                shards.add(row, looked.packed, looked.given)
                progress.update()
            if progress.n == params.photographs:
                break
    shards.close()
    return rows


def _judged(source: Source, looked: Looked, params: Prepare, seen: dict[str, str]) -> Row:
    """The row of one photograph; `seen`, raw or packed sha256 -> the photograph that had it first, learns of it."""
    packed = hashlib.sha256(looked.packed).hexdigest()
    twin = seen.get(looked.sha256) or (seen.get(packed) if looked.packed else None)
    reason = looked.reason or (f"duplicate: of {twin}" if twin else "")
    if not reason:
        seen[looked.sha256] = seen[packed] = source.name
    split = split_of(looked.sha256, params.validation, params.test)
    return Row(source.name, looked.sha256, split, source.labels, looked.width, looked.height, not reason, reason)


def _looked(order: Sequence[Source], params: Prepare, *, paired: bool) -> Iterator[tuple[Source, Looked]]:
    """Each source with what was seen in it, in order; few chunks are on their way at a time."""
    sent = ((own, _look_at.remote(raws, params, paired)) for own, raws in _chunks(order))
    cores = int(ray.cluster_resources().get("CPU", 1))  # type: ignore[no-untyped-call]
    waiting = deque(islice(sent, 2 * max(1, cores)))
    while waiting:
        own, answer = waiting.popleft()
        yield from zip(own, _answer(own, answer), strict=True)
        waiting.extend(islice(sent, 1))


def _answer(own: Sequence[Source], answer: Any) -> list[Looked]:
    try:
        looked: list[Looked] = ray.get(answer)
    except ray.exceptions.RayError as error:
        first = str(error).strip().splitlines()[0]
        raise StageError(f"a worker died while it looked at {own[0].name} ... {own[-1].name}: {first}") from error
    return looked


# No retry: a photograph that kills one worker kills the next, and out of memory Ray would retry for ever.
@ray.remote(max_retries=0)
def _look_at(raws: list[Raw], params: Prepare, paired: bool) -> list[Looked]:
    cv2.setNumThreads(1)
    return [look_at_pair(raw, given, params) if paired else look(raw, params) for raw, given in raws]


def _chunks(order: Iterable[Source]) -> Iterator[tuple[list[Source], list[Raw]]]:
    own: list[Source] = []
    raws: list[Raw] = []
    for source in order:
        own.append(source)
        raws.append((_read(source.path), None if source.given is None else _read(source.given)))
        if len(own) == CHUNK or sum(len(raw) + len(given or b"") for raw, given in raws) >= CHUNK_BYTES:
            yield own, raws
            own, raws = [], []
    if own:
        yield own, raws


def _read(path: Path) -> bytes:
    """The file's bytes; none of what cannot be read, which is left out as such."""
    try:
        if not path.is_file():
            return b""
        with path.open("rb") as file:
            return file.read(LONGEST)
    except OSError:
        return b""


def _left_out(rows: Iterable[Row]) -> dict[str, int]:
    """Kind of reason -> how many photographs."""
    return dict(sorted(Counter(row.reason.partition(":")[0] for row in rows if not row.kept).items()))


@contextmanager
def _ray() -> Iterator[None]:
    """The cluster that RAY_ADDRESS names, or this machine's cores."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.WARNING)
    leave_on_sigterm()
    try:
        yield
    finally:
        ray.shutdown()


if __name__ == "__main__":
    main()
