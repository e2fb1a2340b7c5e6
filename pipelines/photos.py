"""Packed shards -> batches: the same photographs, in the same order, with the same damage, on one worker or on many."""

import hashlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.image import to_tensor
from models.recipe import Batch
from pipelines.params import Damage
from pipelines.stage import StageError

First = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]


@dataclass(frozen=True)
class Photographs:
    """The photographs of one split of one or more prepared sets, still encoded.

    The table's buffers are maps of the shards (or, after `ray.get`, of the object store): neither opening nor
    pickling through Ray copies a photograph.
    """

    table: Any  # pa.Table as `pipelines/prepare.py` writes it
    classes: list[str]  # every label of the sets, sorted, whatever the split
    size: int  # height and width of every photograph, pixels
    real: "Photographs | None" = None  # genuine old photographs, for recipes that learn from some beside these

    @classmethod
    def open(cls, sets: Sequence[Path], split: str) -> "Photographs":
        """The photographs of `split` in the folders `sets`; StageError where there are none or their sizes differ."""
        shards = {path: _shard(path) for folder in sets for path in _shard_paths(folder)}
        names = {name for table in shards.values() for name in pc.unique(pc.list_flatten(table["labels"])).to_pylist()}
        chosen = [table for table in (_of_split(table, split) for table in shards.values()) if len(table)]
        if not chosen:
            raise StageError(f"no photograph of the {split} split in {_list(sets)}; prepare more photographs")
        sizes = {path: len(_decode(table["photo"][0])) for path, table in shards.items() if len(table)}
        if len(set(sizes.values())) > 1:
            said = ", ".join(f"{path.parent} has {size}" for path, size in sizes.items())
            raise StageError(f"photographs of different sizes cannot be trained on together: {said} pixels")
        if len({"given" in table.column_names for table in chosen}) > 1:
            raise StageError(f"pairs cannot be trained on together with photographs that are none: {_list(sets)}")
        return cls(pa.concat_tables(chosen), sorted(names), next(iter(sizes.values())))

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def photo(self, index: int) -> NDArray[np.uint8]:
        """The photograph, (size, size, 3) sRGB."""
        return _decode(self.table["photo"][index])

    @property
    def paired(self) -> bool:
        """Whether each photograph is the answer to a picture of its own, `given`."""
        return "given" in self.table.column_names

    def given(self, index: int) -> NDArray[np.uint8]:
        """The picture that the photograph is the answer to, (size, size, 3) sRGB; only where they are `paired`."""
        return _decode(self.table["given"][index])

    def labels(self, index: int) -> NDArray[np.float32]:
        """Its labels, (K,) multi-hot 0.0 / 1.0 over `classes`."""
        own = self.table["labels"][index].as_py()
        return np.isin(self.classes, own).astype(np.float32)

    def source(self, index: int) -> str:
        """The path of the raw photograph inside data/."""
        return str(self.table["source"][index].as_py())


def data_hashes(sets: Sequence[Path]) -> dict[str, str]:
    """Name of each prepared set -> sha256 of its manifest."""
    try:
        return {folder.name: hashlib.sha256((folder / "manifest.parquet").read_bytes()).hexdigest() for folder in sets}
    except OSError as error:
        raise StageError(f"{error.filename} cannot be read ({error.strerror}); run the prepare stage first") from error


def steps_per_epoch(n: int, batch: int) -> int:
    """Whole batches in `n` photographs."""
    return n // batch


def batches(
    photographs: Photographs,
    *,
    damage: Damage | None,
    batch: int,
    seed: int,
    epoch: int,
    rank: int = 0,
    world: int = 1,
    start: int = 0,
    threads: int = 2,
    first: First | None = None,
) -> Iterator[Batch]:
    """One epoch's batches of this worker, from step `start` of the epoch.

    The photographs come in an order drawn by (seed, epoch), each flipped or not. Batch k is the order's
    [k * batch : (k + 1) * batch], and each of the `world` workers takes its contiguous share of it. A last partial
    batch is dropped. `first` mends what it can of a damaged photograph before a network sees it. Raises StageError
    where the batch cannot be shared or there is not one whole batch.
    """
    share = _share(batch, world)
    steps = steps_per_epoch(len(photographs), batch)
    if steps == 0:
        raise StageError(f"{len(photographs)} photographs are less than one batch of {batch}; lower batch")
    drawn = np.random.default_rng([seed, epoch])
    order = drawn.permutation(len(photographs))
    flips = drawn.random(len(photographs)) < 0.5
    firsts = range(start * batch + rank * share, steps * batch, batch)
    lots = [order[first : first + share] for first in firsts]
    return _ahead(_Maker(photographs, damage, seed, epoch, flips, first), lots, threads)


def held_out(
    photographs: Photographs,
    *,
    damage: Damage | None,
    batch: int,
    seed: int,
    rank: int = 0,
    world: int = 1,
    threads: int = 2,
    first: First | None = None,
) -> Iterator[Batch]:
    """Every photograph once in fixed order, unflipped, with damage that is the same each time it is asked for.

    The last batch may be partial; a worker whose share of it is empty has one batch less.
    """
    share = _share(batch, world)
    lots = [np.arange(first, min(first + share, len(photographs))) for first in range(0, len(photographs), share)]
    maker = _Maker(photographs, damage, seed, 0, np.zeros(len(photographs), dtype=np.bool_), first)
    return _ahead(maker, lots[rank::world], threads)


@dataclass(frozen=True)
class _Maker:
    """Makes batches from indices."""

    photographs: Photographs
    damage: Damage | None
    seed: int
    epoch: int
    flips: NDArray[np.bool_]
    first: First | None

    def batch(self, indices: NDArray[np.int64]) -> Batch:
        made = [self._pair(int(index)) for index in indices]
        clean = torch.stack([to_tensor(photo) for photo, _, _ in made])
        untouched = self.damage is None and not self.photographs.paired
        damaged = clean if untouched else torch.stack([to_tensor(photo) for _, photo, _ in made])
        mask = torch.from_numpy(np.stack([mask for _, _, mask in made])[:, None].astype(np.float32))
        labels = torch.from_numpy(np.stack([self.photographs.labels(int(index)) for index in indices]))
        return Batch(clean=clean, damaged=damaged, mask=mask, labels=labels, real=self._real(indices))

    def _pair(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.bool_]]:
        """Clean, damaged, and which pixels the damage destroyed."""
        photo = self._flipped(self.photographs.photo(index), index)
        nowhere = np.zeros(photo.shape[:2], dtype=np.bool_)
        if self.photographs.paired:
            return photo, self._flipped(self.photographs.given(index), index), nowhere
        if self.damage is None:
            return photo, photo, nowhere
        from pipelines.damage import pair  # albumentations takes a second: not for those who train on clean ones

        clean, damaged, mask = pair(photo, self.damage, self.seed, self.epoch, index)
        return clean, damaged if self.first is None else self.first(damaged), mask

    def _real(self, indices: NDArray[np.int64]) -> Tensor | None:
        """Genuine old photographs, one beside each of `indices`, a function of (seed, epoch, index)."""
        real = self.photographs.real
        if real is None:
            return None
        beside = [int(np.random.default_rng([self.seed, self.epoch, int(i)]).integers(len(real))) for i in indices]
        pictures = [self._flipped(real.photo(other), int(i)) for other, i in zip(beside, indices, strict=True)]
        return torch.stack([to_tensor(picture) for picture in pictures])

    def _flipped(self, photo: NDArray[np.uint8], index: int) -> NDArray[np.uint8]:
        return np.ascontiguousarray(photo[:, ::-1]) if self.flips[index] else photo


def _ahead(maker: _Maker, lots: Sequence[NDArray[np.int64]], threads: int) -> Iterator[Batch]:
    """The batches in order, each made by one of `threads` threads while earlier ones are in use."""
    pool = ThreadPoolExecutor(threads, thread_name_prefix="photographs")
    try:
        waiting = iter(lots)
        queue: deque[Future[Batch]] = deque(pool.submit(maker.batch, lot) for lot in islice(waiting, threads + 1))
        while queue:
            made = queue.popleft().result()
            queue.extend(pool.submit(maker.batch, lot) for lot in islice(waiting, 1))
            yield made
    finally:
        pool.shutdown(cancel_futures=True)


def _share(batch: int, world: int) -> int:
    if batch % world:
        raise StageError(f"batch is {batch} and there are {world} workers; batch must be a multiple of the workers")
    return batch // world


def _shard_paths(folder: Path) -> list[Path]:
    paths = sorted(folder.glob("shard-*.arrow"))
    if not paths:
        raise StageError(f"{folder} holds no prepared photographs; run `python -m pipelines.prepare {folder.name}`")
    return paths


def _shard(path: Path) -> Any:
    try:
        return pa.ipc.open_file(pa.memory_map(str(path))).read_all()
    except (OSError, pa.ArrowInvalid) as error:
        raise StageError(f"{path} is no readable shard ({error}); prepare the set again") from error


def _of_split(table: Any, split: str) -> Any:
    """The rows of `split`; a shard of one split, as prepare writes them, comes back as it is and not as a copy."""
    own = pc.equal(table["split"], split)
    return table if pc.all(own).as_py() else table.filter(own)


def _decode(encoded: Any) -> NDArray[np.uint8]:
    photo = cv2.imdecode(np.frombuffer(encoded.as_buffer(), np.uint8), cv2.IMREAD_COLOR_RGB)
    if photo is None:
        raise StageError("a packed photograph cannot be decoded; prepare the set again")
    return np.asarray(photo, dtype=np.uint8)


def _list(sets: Sequence[Path]) -> str:
    return ", ".join(map(str, sets))
