import io
import pickle
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from models.recipe import Batch
from pipelines.packing import Row, Shards, Split, write_manifest
from pipelines.params import Damage
from pipelines.photos import Photographs, batches, data_hashes, held_out, steps_per_epoch
from pipelines.stage import StageError

SIZE = 32
DAMAGE = Damage(0.5, 0.0, 0.6, 0.3, 0.2, 0.2, 0.3, 0.5, 0.3, 0.5, 0.3, 0.3, 0.4, 0.2, 0.1, 0.3)


def packed(number: int, size: int = SIZE) -> bytes:
    """A photograph that is known by its colour, with its left edge black."""
    pixels = np.full((size, size, 3), (5 * number, 255 - 5 * number, 100), np.uint8)
    pixels[:, : size // 4] = 0
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=95, subsampling=0)
    return file.getvalue()


def written(
    folder: Path, labels: Sequence[str] = "abc", train: int = 21, size: int = SIZE, paired: bool = False
) -> Path:
    """A prepared set: `train` photographs, then five to validate with."""
    folder.mkdir()
    shards, rows = Shards(folder, 8), []
    for number in range(train + 5):
        split: Split = "train" if number < train else "validation"
        own = [labels[number % len(labels)]]
        row = Row(f"{folder.name}/{number}.jpg", f"{number:064}", split, own, size, size, True, "")
        shards.add(row, packed(number, size), packed(50 - number, size) if paired else b"")
        rows.append(row)
    shards.close()
    write_manifest(rows, folder / "manifest.parquet")
    return folder


@pytest.fixture
def photographs(tmp_path: Path) -> Photographs:
    return Photographs.open([written(tmp_path / "coco")], "train")


def joined(parts: Sequence[Batch]) -> tuple[torch.Tensor, ...]:
    fields = ("clean", "damaged", "mask", "labels")
    return tuple(torch.cat([getattr(part, field) for part in parts]) for field in fields)


def same(one: Sequence[Batch], two: Sequence[Batch]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(joined(one), joined(two), strict=True))


def epoch(photographs: Photographs, damage: Damage | None = DAMAGE, number: int = 3, **options: Any) -> list[Batch]:
    return list(batches(photographs, damage=damage, batch=4, seed=11, epoch=number, **options))


def number_of(photo: NDArray[np.uint8]) -> int:
    return round(float(np.median(photo[..., 0])) / 5)


def test_photographs_of_one_split_with_their_labels(tmp_path: Path) -> None:
    sets = [written(tmp_path / "coco", "ca"), written(tmp_path / "imagenet", ["n1"], train=9)]
    train = Photographs.open(sets, "train")
    assert (len(train), train.size, train.classes) == (30, SIZE, ["a", "c", "n1"])
    assert train.photo(0).shape == (SIZE, SIZE, 3)
    assert train.photo(0).dtype == np.uint8
    assert [number_of(train.photo(index)) for index in range(30)] == [*range(21), *range(9)]
    assert train.labels(0).tolist() == [0.0, 1.0, 0.0]
    assert train.labels(29).tolist() == [0.0, 0.0, 1.0]
    assert train.source(29) == "imagenet/8.jpg"
    assert train.source(20) == "coco/20.jpg"


def test_every_split_has_the_same_classes(tmp_path: Path) -> None:
    folder = written(tmp_path / "coco", [str(number) for number in range(26)])
    assert Photographs.open([folder], "train").classes == Photographs.open([folder], "validation").classes


def test_sets_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    small, large = written(tmp_path / "small", size=24), written(tmp_path / "large")
    (tmp_path / "more").mkdir()
    with pytest.raises(StageError, match=r"small has 24.*large has 32"):
        Photographs.open([small, large], "train")
    with pytest.raises(StageError, match=r"more holds no prepared photographs; run .*pipelines.prepare more"):
        Photographs.open([small, tmp_path / "more"], "train")
    with pytest.raises(StageError, match=r"no photograph of the test split in .*small"):
        Photographs.open([small], "test")
    (small / "shard-00000.arrow").write_bytes(b"ARROW1")
    with pytest.raises(StageError, match=r"shard-00000.arrow is no readable shard"):
        Photographs.open([small], "train")


def test_pickling_out_of_band_copies_no_photograph(photographs: Photographs) -> None:
    buffers: list[pickle.PickleBuffer] = []
    body = pickle.dumps(photographs, protocol=5, buffer_callback=buffers.append)
    encoded = sum(len(photographs.table["photo"][index].as_py()) for index in range(len(photographs)))
    assert len(body) < 8000 < encoded
    back = pickle.loads(body, buffers=buffers)  # noqa: S301 -- our own bytes
    assert np.array_equal(back.photo(7), photographs.photo(7))
    ours, theirs = (made.table["photo"].chunk(0).buffers()[2].address for made in (photographs, back))
    assert ours == theirs


def test_an_epoch_is_every_photograph_once_in_another_order_each_time(photographs: Photographs) -> None:
    def order(number: int) -> list[int]:
        made = epoch(photographs, None, number)
        return [round(float(photo[0].median()) * 51) for batch in made for photo in batch.clean]

    assert len(order(0)) == len(set(order(0))) == 20
    assert set(order(0)) < set(range(21))
    assert order(0) == order(0)
    assert order(0) != order(1)


def test_shapes_and_ranges(photographs: Photographs) -> None:
    first = epoch(photographs)[0]
    assert first.clean.shape == first.damaged.shape == (4, 3, SIZE, SIZE)
    assert first.mask.shape == (4, 1, SIZE, SIZE)
    assert first.labels.shape == (4, 3)
    for tensor in (first.clean, first.damaged, first.mask, first.labels):
        assert tensor.dtype == torch.float32
        assert 0 <= tensor.min() <= tensor.max() <= 1
    assert set(first.mask.flatten().tolist()) <= {0.0, 1.0}
    assert torch.equal(first.labels.sum(dim=1), torch.ones(4))


def test_two_workers_together_see_what_one_sees(photographs: Photographs) -> None:
    alone = epoch(photographs)
    ranks = [epoch(photographs, rank=rank, world=2, threads=1 + rank) for rank in range(2)]
    assert len(ranks[0]) == len(ranks[1]) == len(alone) == 5
    assert same(alone, [part for pair in zip(*ranks, strict=True) for part in pair])


def test_a_restart_goes_on_where_it_stopped(photographs: Photographs) -> None:
    assert same(epoch(photographs)[2:], epoch(photographs, start=2))
    assert epoch(photographs, start=5) == []


def test_some_are_flipped_and_damage_follows_seed_and_epoch(photographs: Photographs) -> None:
    made = joined(epoch(photographs))
    flipped = (made[0][:, :, :, -1].mean(dim=(1, 2)) < 0.1).sum().item()
    assert 2 <= flipped <= 18
    assert not torch.equal(made[0], made[1])
    assert not torch.equal(made[1].sum(), joined(epoch(photographs, number=4))[1].sum())


def test_without_damage_clean_is_what_is_given(photographs: Photographs) -> None:
    for batch in epoch(photographs, None):
        assert torch.equal(batch.clean, batch.damaged)
        assert batch.mask.sum() == 0


def held(photographs: Photographs, **options: Any) -> list[Batch]:
    return list(held_out(photographs, damage=DAMAGE, batch=4, seed=5, **options))


def test_held_out_is_all_of_them_in_order_and_always_the_same(tmp_path: Path) -> None:
    validation = Photographs.open([written(tmp_path / "coco")], "validation")
    made = held(validation)
    assert [len(batch.clean) for batch in made] == [4, 1]
    expected = [validation.photo(index).transpose(2, 0, 1) / 255 for index in range(5)]
    assert np.allclose(joined(made)[0].numpy(), expected)
    assert same(made, held(validation))
    ranks = [held(validation, rank=rank, world=2) for rank in range(2)]
    assert [len(batch.clean) for batch in ranks[0]] == [2, 1]
    assert [len(batch.clean) for batch in ranks[1]] == [2]
    assert same(made, [ranks[0][0], ranks[1][0], ranks[0][1]])


def test_batches_that_cannot_be(photographs: Photographs) -> None:
    with pytest.raises(StageError, match="batch is 4 and there are 3 workers"):
        batches(photographs, damage=None, batch=4, seed=0, epoch=0, world=3)
    with pytest.raises(StageError, match="21 photographs are less than one batch of 22"):
        batches(photographs, damage=None, batch=22, seed=0, epoch=0)
    assert (steps_per_epoch(21, 4), steps_per_epoch(3, 4)) == (5, 0)


def test_leaving_early_leaves_no_thread(photographs: Photographs) -> None:
    import threading

    running: Iterator[Batch] = batches(photographs, damage=None, batch=4, seed=0, epoch=0)
    next(running)
    running.close()  # type: ignore[attr-defined]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("photographs")]


def test_hashes_are_of_the_manifests(tmp_path: Path) -> None:
    one, two = written(tmp_path / "one"), written(tmp_path / "two", train=9)
    hashes = data_hashes([one, two])
    assert list(hashes) == ["one", "two"]
    assert hashes["one"] != hashes["two"]
    with pytest.raises(StageError, match=r"three/manifest.parquet cannot be read"):
        data_hashes([tmp_path / "three"])


def test_pairs_are_flipped_together_and_never_damaged(tmp_path: Path) -> None:
    pairs = Photographs.open([written(tmp_path / "pairs", paired=True)], "train")
    assert pairs.paired
    made = epoch(pairs, damage=None)
    clean, given, mask, _ = joined(made)
    assert not mask.any()
    black = clean[:, :, :, 0].sum(dim=(1, 2)) == 0
    assert torch.equal(black, given[:, :, :, 0].sum(dim=(1, 2)) == 0)
    assert black.any()
    assert not black.all()
    assert (given - clean).abs().mean() > 0.1


def test_pairs_and_others_are_not_mixed(tmp_path: Path) -> None:
    sets = [written(tmp_path / "pairs", paired=True), written(tmp_path / "coco")]
    with pytest.raises(StageError, match="pairs cannot be trained on together with photographs that are none"):
        Photographs.open(sets, "train")


def test_genuine_old_photographs_come_beside_the_damaged_ones(tmp_path: Path, photographs: Photographs) -> None:
    old = Photographs.open([written(tmp_path / "old", train=3)], "train")
    beside = replace(photographs, real=old)
    assert all(batch.real is None for batch in epoch(photographs))
    made = epoch(beside)
    assert same(made, epoch(photographs))
    pictures = torch.cat([batch.real for batch in made if batch.real is not None])
    assert len(pictures) == sum(len(batch.clean) for batch in made)
    greens = {round(float(value) * 255 / 5) for value in 1 - pictures[:, 1, 16, 16]}
    assert greens == {0, 1, 2}
    again = torch.cat([batch.real for batch in epoch(beside) if batch.real is not None])
    assert torch.equal(pictures, again)
    halves = [epoch(beside, rank=rank, world=2) for rank in (0, 1)]
    first = torch.cat([halves[0][0].real, halves[1][0].real])  # type: ignore[list-item]
    assert torch.equal(first, made[0].real)  # type: ignore[arg-type]


def test_what_is_mended_first_is_what_the_network_sees(photographs: Photographs) -> None:
    (plain, *_), (mended, *_) = epoch(photographs), epoch(photographs, first=lambda photo: 255 - photo)
    assert torch.allclose(mended.damaged, 1 - plain.damaged, atol=1e-6)
    assert torch.equal(mended.clean, plain.clean)
    assert torch.equal(mended.mask, plain.mask)
