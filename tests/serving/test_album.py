"""`python -m serving.album` on real files, with real models from a real registry, on a real Ray."""

import csv
import io
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
from PIL import Image

from models.task import Task
from serving import album
from serving.albums import files, record
from serving.albums.record import Outcome, Record
from serving.photo import Format


@pytest.fixture(scope="module")
def registry(archive: Any) -> Any:
    """A registry with champions. Ray is started once: each album would start its own."""
    for task in (Task.RESTORE, Task.COLORIZE):
        archive.release(task, 1)
    return archive


@pytest.fixture(scope="module")
def own_ray() -> Iterator[None]:
    ray.init("local", num_cpus=1, include_dashboard=False, _node_ip_address="127.0.0.1", logging_level=logging.ERROR)
    yield
    ray.shutdown()


def here(registry: Any) -> tuple[str, ...]:
    return "--cache", str(registry.folder / "cache"), "--engine", "eager"


@pytest.fixture
def made(registry: Any, own_ray: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes the album tmp_path/in -> tmp_path/out: the exit status, and the report by file."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", registry.uri)

    def make(*options: str) -> tuple[int, dict[str, dict[str, str]]]:
        folders = [str(tmp_path / "in"), str(tmp_path / "out")]
        monkeypatch.setattr(sys, "argv", ["album", *folders, *here(registry), *options])
        with pytest.raises(SystemExit) as ended:
            album.main()
        report = tmp_path / "out" / "report.csv"
        text = report.read_bytes().decode("utf-8", "surrogateescape") if report.exists() else ""
        return int(ended.value.code or 0), {row["file"]: row for row in csv.DictReader(io.StringIO(text))}

    return make


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with 200 KB."""
    folder = tmp_path / "out"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", folder], capture_output=True, text=True
    )
    if mounted.returncode != 0:
        pytest.skip(f"a file system cannot be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def write(path: Path, width: int = 40, height: int = 30, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(pixels).save(path)


def below(folder: Path) -> set[str]:
    """Names of the files that people see in OUT."""
    found = (path for path in folder.rglob("*") if path.is_file() and ".autochrome" not in path.parts)
    return {os.fspath(path.relative_to(folder)) for path in found}


def test_a_folder_is_made_and_a_rerun_does_what_is_missing(made: Any, tmp_path: Path, registry: Any) -> None:
    source, target = tmp_path / "in", tmp_path / "out"
    odd = os.fsdecode(b"gr\xfcn.png")  # Latin-1, as old archives have it
    for seed, (name, size) in enumerate({"1.jpg": (50, 40), "a/b/2.png": (30, 70), odd: (20, 20)}.items()):
        write(source / name, *size, seed=seed)
    (source / "broken.jpg").write_bytes((source / "1.jpg").read_bytes()[:300])
    (source / "notes.txt").write_text("Aunt Frieda, 1921")
    (source / ".hidden.jpg").write_bytes(b"")
    (source / "link.jpg").symlink_to("1.jpg")
    os.mkfifo(source / "pipe")

    status, rows = made()
    assert status == 1
    ends = {name: row["outcome"] for name, row in rows.items()}
    assert ends == {
        "1.jpg": "done",
        "a/b/2.png": "done",
        odd: "done",
        "broken.jpg": "refused",
        "notes.txt": "refused",
        ".hidden.jpg": "skipped",
        "link.jpg": "skipped",
        "pipe": "skipped",
    }
    assert all(rows[name]["reason"] for name, end in ends.items() if end != "done")
    assert rows["1.jpg"]["versions"] == "restorer/1 colorizer/1"
    assert below(target) == {"1.jpg", "a/b/2.png", odd, "report.csv"}
    for name in ("1.jpg", "a/b/2.png", odd):
        with Image.open(source / name) as before, Image.open(target / name) as after:
            assert (before.size, before.format) == (after.size, after.format)

    # One picture is lost, one photograph is changed, one file of somebody's own is in a picture's place.
    kept = (target / odd).stat().st_mtime_ns
    (target / "1.jpg").unlink()
    write(source / "a/b/2.png", 31, 71)
    write(source / "3.png")
    write(target / "3.png", 9, 9)
    (source / "broken.jpg").unlink()
    (source / "notes.txt").unlink()
    theirs = (target / "3.png").read_bytes()
    status, again = made()
    assert status == 1
    assert again[odd] == rows[odd]  # as it was reported when it was made
    assert (target / odd).stat().st_mtime_ns == kept
    assert again["1.jpg"]["output_sha256"] == rows["1.jpg"]["output_sha256"]
    with Image.open(target / "a/b/2.png") as changed:
        assert changed.size == (31, 71)
    assert again["3.png"]["outcome"] == "refused"
    assert "move it away" in again["3.png"]["reason"]
    assert (target / "3.png").read_bytes() == theirs

    # Other models make other pictures: all of them are made again, over those that are ours.
    (target / "3.png").unlink()
    registry.release(Task.RESTORE, 2)
    status, newer = made()
    assert status == 0
    for name in ("1.jpg", "a/b/2.png", odd, "3.png"):
        assert newer[name]["versions"] == "restorer/2 colorizer/1"


def test_one_task_in_one_format(made: Any, tmp_path: Path) -> None:
    for name in ("x.png", "x.jpg", "y.bmp"):
        write(tmp_path / "in" / name)
    write(tmp_path / "in" / "large.png", 40, 31)
    status, rows = made("--task", "colorize", "--format", "jpeg", "--most-pixels", "1200")
    assert status == 1
    assert "1,240 pixels" in rows.pop("large.png")["reason"]
    assert {name: row["output"] for name, row in rows.items()} == {
        "x.jpg": "x.jpg",
        "x.png": "x.png.jpg",
        "y.bmp": "y.jpg",
    }
    for row in rows.values():
        assert row["versions"].startswith("colorizer/")
        with Image.open(tmp_path / "out" / row["output"]) as picture:
            assert picture.format == "JPEG"


def test_a_full_disk_is_said_for_each_file_and_a_rerun_completes(made: Any, tmp_path: Path, tiny_disk: Path) -> None:
    for seed in range(6):
        write(tmp_path / "in" / f"{seed}.png", 400, 300, seed)
    status, rows = made()
    assert status == 1
    whole = {path.name: path.read_bytes() for path in tiny_disk.glob("*.png")}
    assert 0 < len(whole) < 6
    assert {name for name, row in rows.items() if row["outcome"] == "done"} == set(whole)
    assert {row["reason"] for name, row in rows.items() if name not in whole} == {"No space left on device"}
    for name in whole:
        with Image.open(tiny_disk / name) as picture:
            picture.load()

    subprocess.run(["mount", "-o", "remount,size=8m", tiny_disk], check=True)
    status, rows = made()
    assert status == 0
    assert {row["outcome"] for row in rows.values()} == {"done"}
    assert below(tiny_disk) == {*rows, "report.csv"}
    assert {name: (tiny_disk / name).read_bytes() for name in whole} == whole


@pytest.mark.parametrize(
    ("options", "folders", "words"),
    [
        (("--alias", "nobody"), ("in", "out"), "no version of restorer has the alias nobody"),
        ((), ("absent", "out"), "it must be a folder"),
        ((), ("in", "in/out"), "neither may be in the other"),
        ((), ("in/sub", "in"), "neither may be in the other"),
        (("--workers", "0"), ("in", "out"), "it must be at least 1"),
    ],
)
def test_what_cannot_be_begun_is_said_in_one_line(
    registry: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: tuple[str, ...],
    folders: tuple[str, str],
    words: str,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", registry.uri)
    write(tmp_path / "in" / "sub" / "a.png")
    monkeypatch.setattr(sys, "argv", ["album", *(str(tmp_path / folder) for folder in folders), *options])
    with pytest.raises(SystemExit) as ended:
        album.main()
    assert ended.value.code == 2
    assert words in capsys.readouterr().err


def test_two_albums_never_share_a_folder(
    registry: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", registry.uri)
    write(tmp_path / "in" / "a.png")
    (tmp_path / "out" / ".autochrome").mkdir(parents=True)
    folders = [str(tmp_path / "in"), str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", ["album", *folders, *here(registry)])
    with album._only_one(tmp_path / "out"), pytest.raises(SystemExit) as ended:
        album.main()
    assert ended.value.code == 2
    assert "another process" in capsys.readouterr().err


def test_every_picture_has_a_name_of_its_own() -> None:
    assert files.outputs(["a.jpg", "b/a.jpg", "c.heic", "d"], None) == ["a.jpg", "b/a.jpg", "c.png", "d.png"]
    assert files.outputs(["a.tif", "a.jpg", "a.png"], Format.PNG) == ["a.tif.png", "a.jpg.png", "a.png"]
    assert files.outputs(["a.JPEG", "A.jpg"], None) == ["a.JPEG", "A.jpg"]
    assert files.outputs(["a.png", "A.PNG"], None) == ["a.png.png", "A.PNG"]  # one file on some disks
    for names in (["a.png", "a.jpg", "a.jpg.png"], ["x.b", "x.a", "x.a.png", "X.png"]):
        given = [name.casefold() for name in files.outputs(names, Format.PNG)]
        assert len({name for name in given if name}) == len([name for name in given if name])


def test_a_record_survives_its_file_and_a_broken_one_is_none(tmp_path: Path) -> None:
    kept = Record(os.fsdecode(b"gr\xfcn,\n.jpg"), Outcome.DONE, "", "x", ("restorer/1",), 0.25, "a", "b", "c")
    (tmp_path / "record").write_bytes(kept.as_json())
    assert record.read(tmp_path / "record") == kept
    (tmp_path / "record").write_bytes(kept.as_json()[:-5])
    assert record.read(tmp_path / "record") is None
    (row,) = csv.DictReader(io.StringIO(record.report([kept]).decode("utf-8", "surrogateescape"), newline=""))
    assert row["file"] == kept.file
