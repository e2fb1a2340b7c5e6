import hashlib
import io
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
import ray
import yaml
from PIL import Image

from pipelines.params import Prepare, prepare_params
from pipelines.photos import Photographs
from pipelines.prepare import drawn, listed, prepare, split_of
from pipelines.sources import Source
from pipelines.stage import StageError
from tests.pipelines.stages import Stages

ROOT = Path(__file__).resolve().parents[2]

PARAMS = Prepare(
    photographs=40, size=32, smallest=40, colorfulness=4.0, validation=0.2, test=0.2, shard=8, quality=95, seed=7
)


@pytest.fixture(scope="module")
def _ray() -> Iterator[None]:
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


def photo(seed: int, width: int = 64, height: int = 48) -> bytes:
    coarse = np.random.default_rng(seed).integers(0, 255, (4, 5, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)).save(file, "JPEG")
    return file.getvalue()


def raw_folder(data: Path, count: int) -> Path:
    """`count` good photographs in two folders."""
    for seed in range(count):
        path = data / "more" / ("cats", "dogs")[seed % 2] / f"{seed:03}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(photo(seed))
    return data


def made(data: Path, target: Path, params: Prepare = PARAMS, name: str = "more") -> list[dict[str, Any]]:
    """Prepares a set; the rows of the manifest."""
    target.mkdir()
    prepare(name, params, listed(name, data), target)
    rows: list[dict[str, Any]] = pq.read_table(target / "manifest.parquet").to_pylist()
    return rows


def contents(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def packed(folder: Path) -> set[str]:
    found = [Photographs.open([folder], split) for split in ("train", "validation", "test")]
    return {part.source(index) for part in found for index in range(len(part))}


@pytest.mark.usefixtures("_ray")
def test_every_photograph_left_out_is_named_with_its_reason(tmp_path: Path) -> None:
    folder = raw_folder(tmp_path, 30) / "more/odd"
    folder.mkdir()
    grey = cv2.imencode(".jpg", np.full((64, 64), 90, np.uint8))[1].tobytes()
    with_comment = photo(0)[:2] + b"\xff\xfe\x00\x04hi" + photo(0)[2:]
    odd = {
        "cut.jpg": photo(100)[:-400],
        "small.jpg": photo(101, 30, 30),
        "grey.jpg": grey,
        "again.jpg": photo(1),
        "same-pixels.jpg": with_comment,
        "notes.txt": b"no photograph",
        "empty.jpg": b"",
    }
    for name, raw in odd.items():
        (folder / name).write_bytes(raw)
    (folder / "lost.jpg").symlink_to("nowhere.jpg")
    rows = made(tmp_path, tmp_path / "out")
    left_out = {Path(row["source"]).name: row["reason"].partition(":")[0] for row in rows if not row["kept"]}
    twins = {name for name, reason in left_out.items() if reason == "duplicate"}
    assert len(twins & {"again.jpg", "001.jpg"}) == 1
    assert len(twins & {"same-pixels.jpg", "000.jpg"}) == 1
    assert {name: reason for name, reason in left_out.items() if name not in twins} == {
        "cut.jpg": "truncated or damaged",
        "small.jpg": "too small",
        "grey.jpg": "near-grey",
        "notes.txt": "not a picture",
        "empty.jpg": "unreadable",
        "lost.jpg": "unreadable",
    }
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert (report["looked_at"], report["kept"], report["left_out"]["duplicate"]) == (38, 30, 2)
    assert sum(report["splits"].values()) == 30
    assert packed(tmp_path / "out") == {row["source"] for row in rows if row["kept"]}


@pytest.mark.usefixtures("_ray")
def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    raw_folder(tmp_path, 60)
    one, two, other = (tmp_path / name for name in ("one", "two", "other"))
    params = replace(PARAMS, photographs=20)
    made(tmp_path, one, params)
    made(tmp_path, two, params)
    made(tmp_path, other, replace(params, seed=8))
    assert contents(one) == contents(two)
    assert packed(one) != packed(other)


@pytest.mark.usefixtures("_ray")
def test_the_bytes_do_not_depend_on_how_the_photographs_are_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw_folder(tmp_path, 30)
    (tmp_path / "more/cats/cut.jpg").write_bytes(photo(99)[:-300])
    made(tmp_path, tmp_path / "one")
    monkeypatch.setattr("pipelines.prepare.CHUNK", 3)
    made(tmp_path, tmp_path / "two")
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


@pytest.mark.usefixtures("_ray")
def test_bad_ones_are_replaced_until_enough_are_kept_and_no_more_is_looked_at(tmp_path: Path) -> None:
    raw_folder(tmp_path, 60)
    bad = sorted((tmp_path / "more").rglob("*.jpg"))[::3]
    for path in bad:
        path.write_bytes(path.read_bytes()[:-300])
    rows = made(tmp_path, tmp_path / "out", replace(PARAMS, photographs=25))
    assert sum(row["kept"] for row in rows) == 25
    assert rows[-1]["kept"]
    assert 25 < len(rows) < 60


@pytest.mark.usefixtures("_ray")
def test_a_photograph_more_moves_no_other_across(tmp_path: Path) -> None:
    raw_folder(tmp_path, 40)
    before = {row["source"]: row["split"] for row in made(tmp_path, tmp_path / "one", replace(PARAMS, photographs=99))}
    raw_folder(tmp_path, 60)
    after = {row["source"]: row["split"] for row in made(tmp_path, tmp_path / "two", replace(PARAMS, photographs=99))}
    assert len(before) == 40
    assert before.items() <= after.items()
    assert set(before.values()) == {"train", "validation", "test"}


@pytest.mark.usefixtures("_ray")
def test_nothing_to_keep_is_said(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more/notes.txt").write_text("no photograph")
    with pytest.raises(StageError, match=r"0 of 1 photographs kept; left out: {'not a picture': 1}"):
        made(tmp_path, tmp_path / "out")


@pytest.mark.usefixtures("_ray")
def test_a_worker_that_dies_is_an_error_that_names_the_photographs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw_folder(tmp_path, 4)

    @ray.remote(max_retries=0)
    def dies(raws: list[tuple[bytes, bytes | None]], params: Prepare, paired: bool) -> None:
        os._exit(9)

    monkeypatch.setattr("pipelines.prepare._look_at", dies)
    with pytest.raises(StageError, match=r"a worker died while it looked at more/.*jpg \.\.\. more/.*jpg"):
        made(tmp_path, tmp_path / "out")


def test_the_order_is_drawn_by_seed_and_name_alone() -> None:
    sources = [Source(Path(), f"more/{number}.jpg", []) for number in range(200)]
    order = drawn(sources, 1)
    assert order == drawn(reversed(sources), 1)
    assert order != drawn(sources, 2)
    assert [source for source in order if source in sources[:100]] == drawn(sources[:100], 1)


def test_splits_take_their_shares() -> None:
    hashes = [hashlib.sha256(str(number).encode()).hexdigest() for number in range(5000)]
    splits = [split_of(sha256, 0.1, 0.15) for sha256 in hashes]
    assert splits.count("test") / 5000 == pytest.approx(0.15, abs=0.02)
    assert splits.count("validation") / 5000 == pytest.approx(0.1, abs=0.02)
    assert {split_of(sha256, 0.0, 0.0) for sha256 in hashes} == {"train"}


Run = Callable[[str], subprocess.CompletedProcess[str]]


@pytest.fixture
def run(workplace: Path, stages: Stages) -> Run:
    """The stage as DVC runs it."""
    return lambda name: stages.run("pipelines.prepare", name, folder=workplace)[0]


@pytest.fixture
def workplace(tmp_path: Path, tracking_database: Path) -> Path:
    shutil.copy(tracking_database, tmp_path / "mlflow.db")
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    for name in ("more", "old", "pairs"):
        params["prepare"][name] |= {"photographs": 10, "size": 32, "smallest": 40}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    return tmp_path


@pytest.mark.usefixtures("_ray")
def test_the_stage_from_the_command_line_gives_the_same_bytes(workplace: Path, run: Run) -> None:
    raw_folder(workplace / "elsewhere", 14)
    (workplace / "data").symlink_to("elsewhere")
    done = run("more")
    assert done.returncode == 0, done.stderr
    assert "prepare@more: 10 of 10 photographs kept; left out: none" in done.stderr
    made(workplace / "data", workplace / "out", prepare_params("more", workplace / "params.yaml"))
    written = contents(workplace / "build/prepared/more")
    assert written == contents(workplace / "out")
    assert {"manifest.parquet", "report.json", "shard-00000.arrow"} <= written.keys()


def test_more_that_is_absent_leaves_an_empty_folder(workplace: Path, run: Run) -> None:
    done = run("more")
    assert done.returncode == 0
    assert done.stderr == "prepare@more: data/more is absent or empty; nothing is prepared\n"
    assert [path.name for path in (workplace / "build/prepared/more").iterdir()] == ["report.json"]


@pytest.mark.usefixtures("_ray")
def test_pairs_of_ones_own_and_pairs_made_of_edges(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workplace)  # params.yaml says what pairs are made of
    params = prepare_params("pairs")
    own, photographs = workplace / "data/pairs", workplace / "data/imagenet/train/n01"
    for folder in (own / "A", own / "B", photographs):
        folder.mkdir(parents=True)
    for seed in range(12):
        (photographs / f"{seed}.jpg").write_bytes(photo(seed))
        (own / f"A/{seed}.jpg").write_bytes(photo(100 + seed))
        (own / f"B/{seed}.jpg").write_bytes(photo(200 + seed))
    made(workplace / "data", workplace / "own", params, "pairs")
    prepared = Photographs.open([workplace / "own"], "train")
    seed = int(Path(prepared.source(0)).stem)
    for picture, raw in ((prepared.photo(0), photo(200 + seed)), (prepared.given(0), photo(100 + seed))):
        with Image.open(io.BytesIO(raw)) as opened:
            middle = np.asarray(opened.crop((8, 0, 56, 48)).resize((32, 32), Image.Resampling.LANCZOS), np.float32)
        assert np.abs(picture - middle).mean() < 4
    shutil.rmtree(own)
    made(workplace / "data", workplace / "edges", params, "pairs")
    made_of_edges = Photographs.open([workplace / "edges"], "train")
    assert made_of_edges.source(0).startswith("imagenet/train/n01/")
    assert set(np.unique(made_of_edges.given(0))) <= {0, 255}


def test_a_wrong_layout_is_one_line(run: Run) -> None:
    done = run("imagenet")
    assert done.returncode == 1
    assert done.stderr.startswith("prepare@imagenet: data/imagenet/train holds no photographs")
    assert done.stderr.count("\n") == 1
