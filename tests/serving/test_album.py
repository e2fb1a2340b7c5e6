"""`python -m serving.album` on real files, with real models from a real registry."""

import csv
import io
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pytest
from PIL import Image

from models.task import Task
from serving import album
from serving.albums import files, record
from serving.albums.record import Outcome, Record
from serving.albums.spread import Album, Worker
from serving.photo import Format
from tests.serving.conftest import Archive
from tests.serving.disk import small_disk
from tests.serving.noise import write

ODD = os.fsdecode(b"gr\xfcn.png")  # Latin-1, as old archives have it


@pytest.fixture(scope="module")
def registry(archive: Archive) -> Archive:
    """A registry with champions, and a challenger that restores."""
    for task in (Task.RESTORE, Task.COLORIZE):
        archive.point(task.model, archive.release(task, 1), "challenger")
    archive.release(Task.RESTORE, 2, alias="challenger")
    return archive


def one_by_one(album: Album, outputs: Mapping[str, str]) -> Iterator[Record]:
    """What `spread` does with Ray Data, in this process: for tests of what becomes of each file."""
    worker = Worker(album, "cpu")
    for name, output in outputs.items():
        row = {"name": os.fsencode(name), "output": os.fsencode(output)}
        yield Record.from_json(worker(row)["record"])


@dataclass(frozen=True)
class Command:
    """`python -m serving.album tmp_path/in tmp_path/out` in this process."""

    folder: Path
    registry: Archive
    patch: pytest.MonkeyPatch

    def __call__(self, *options: str) -> tuple[int, dict[str, dict[str, str]]]:
        """The exit status, and the report by file."""
        self.patch.setenv("MLFLOW_TRACKING_URI", self.registry.uri)
        words = [str(self.folder / "in"), str(self.folder / "out"), "--cache", str(self.folder / "cache")]
        self.patch.setattr(sys, "argv", ["album", *words, "--engine", "eager", *options])
        with pytest.raises(SystemExit) as ended:
            album.main()
        report = self.folder / "out" / "report.csv"
        text = report.read_bytes().decode("utf-8", "surrogateescape") if report.exists() else ""
        return int(ended.value.code or 0), {row["file"]: row for row in csv.DictReader(io.StringIO(text))}


@pytest.fixture
def spread_by_ray(registry: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    return Command(tmp_path, registry, monkeypatch)


@pytest.fixture
def made(spread_by_ray: Command) -> Command:
    spread_by_ray.patch.setattr(album, "spread", one_by_one)
    return spread_by_ray


def below(folder: Path) -> set[str]:
    """Names of the files that people see in OUT."""
    found = (path for path in folder.rglob("*") if path.is_file() and ".autochrome" not in path.parts)
    return {os.fspath(path.relative_to(folder)) for path in found}


def test_a_folder_is_spread_and_each_file_has_its_end(
    spread_by_ray: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, target = tmp_path / "in", tmp_path / "out"
    for seed, (name, size) in enumerate({"1.jpg": (50, 40), "a/b/2.png": (30, 70), ODD: (20, 20)}.items()):
        write(source / name, *size, seed=seed)
    (source / "broken.jpg").write_bytes((source / "1.jpg").read_bytes()[:300])
    (source / "notes.txt").write_text("Aunt Frieda, 1921")
    (source / ".hidden.jpg").write_bytes(b"")
    (source / "link.jpg").symlink_to("1.jpg")
    os.mkfifo(source / "pipe")

    status, rows = spread_by_ray()
    assert status == 1
    ends = {name: row["outcome"] for name, row in rows.items()}
    assert ends == {
        "1.jpg": "done",
        "a/b/2.png": "done",
        ODD: "done",
        "broken.jpg": "refused",
        "notes.txt": "refused",
        ".hidden.jpg": "skipped",
        "link.jpg": "skipped",
        "pipe": "skipped",
    }
    assert all(rows[name]["reason"] for name, end in ends.items() if end != "done")
    assert rows["1.jpg"]["versions"] == "restorer/1 colorizer/1"
    assert below(target) == {"1.jpg", "a/b/2.png", ODD, "report.csv"}
    for name in ("1.jpg", "a/b/2.png", ODD):
        with Image.open(source / name) as before, Image.open(target / name) as after:
            assert (before.size, before.format) == (after.size, after.format)
    bar = capsys.readouterr().err
    assert "5/5" in bar
    assert "done=3" in bar
    assert "refused=2" in bar


def test_a_rerun_does_what_is_missing_or_changed_and_nothing_else(made: Command, tmp_path: Path) -> None:
    source, target = tmp_path / "in", tmp_path / "out"
    for seed, name in enumerate(("1.jpg", "2.jpg", "3.jpg", ODD)):
        write(source / name, seed=seed)
    (source / "broken.jpg").write_bytes((source / "1.jpg").read_bytes()[:300])
    status, rows = made()
    assert (status, [row["outcome"] for row in rows.values()].count("done")) == (1, 4)

    # A picture is lost, a photograph is changed, a picture is changed, somebody's own file is in a picture's place.
    kept = (target / ODD).stat().st_mtime_ns
    (target / "1.jpg").unlink()
    write(source / "2.jpg", 31, 71)
    write(target / "3.jpg", 8, 8)
    write(source / "4.jpg")
    write(target / "4.jpg", 9, 9)
    theirs = {name: (target / name).read_bytes() for name in ("3.jpg", "4.jpg")}
    (source / "broken.jpg").unlink()
    status, again = made()
    assert status == 1
    assert again[ODD] == rows[ODD]  # as it was reported when it was made
    assert (target / ODD).stat().st_mtime_ns == kept
    assert again["1.jpg"]["output_sha256"] == rows["1.jpg"]["output_sha256"]
    with Image.open(target / "2.jpg") as changed:
        assert changed.size == (31, 71)
    for name, data in theirs.items():
        assert again[name]["outcome"] == "refused"
        assert "move it away" in again[name]["reason"]
        assert (target / name).read_bytes() == data
    assert "broken.jpg" not in again


def test_another_version_makes_all_again_and_a_stop_calls_no_old_picture_done(
    made: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [f"{number}.jpg" for number in range(4)]
    for name in names:
        write(tmp_path / "in" / name)
    assert made()[0] == 0

    def stopped(album: Album, outputs: Mapping[str, str]) -> Iterator[Record]:
        yield from islice(one_by_one(album, outputs), 2)
        raise KeyboardInterrupt

    made.patch.setattr(album, "spread", stopped)
    status, rows = made("--alias", "challenger")
    assert status == 130
    assert [row["outcome"] for row in rows.values()] == ["done", "done", "missing", "missing"]
    assert rows["0.jpg"]["versions"] == "restorer/2 colorizer/1"
    assert "2 done, 2 missing" in capsys.readouterr().err
    first = (tmp_path / "out" / "0.jpg").stat().st_mtime_ns

    made.patch.setattr(album, "spread", one_by_one)
    status, rows = made("--alias", "challenger")
    assert status == 0
    assert {row["versions"] for row in rows.values()} == {"restorer/2 colorizer/1"}
    assert (tmp_path / "out" / "0.jpg").stat().st_mtime_ns == first
    (tmp_path / "out" / "1.jpg").unlink()
    made.patch.setattr(album, "spread", lambda album, outputs: stopped(album, {}))
    assert [row["outcome"] for row in made("--alias", "challenger")[1].values()] == ["done", "missing", "done", "done"]


def test_one_task_in_one_format(made: Command, tmp_path: Path) -> None:
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
        assert row["versions"] == "colorizer/1"
        with Image.open(tmp_path / "out" / row["output"]) as picture:
            assert picture.format == "JPEG"


def test_a_full_disk_is_said_for_each_file_and_a_rerun_completes(made: Command, tmp_path: Path) -> None:
    for seed in range(6):
        write(tmp_path / "in" / f"{seed}.png", 400, 300, seed)
    target = tmp_path / "out"
    with small_disk(target, "200k") as resize:
        status, rows = made()
        assert status == 1
        whole = {path.name: path.read_bytes() for path in target.glob("*.png")}
        assert 0 < len(whole) < 6
        assert {name for name, row in rows.items() if row["outcome"] == "done"} == set(whole)
        assert {row["reason"] for name, row in rows.items() if name not in whole} == {"No space left on device"}
        for name in whole:
            with Image.open(target / name) as picture:
                picture.load()

        resize("8m")
        status, rows = made()
        assert status == 0
        assert {row["outcome"] for row in rows.values()} == {"done"}
        assert below(target) == {*rows, "report.csv"}
        assert {name: (target / name).read_bytes() for name in whole} == whole


@pytest.mark.parametrize(
    ("options", "folders", "words"),
    [
        (("--alias", "nobody"), ("in", "out"), "no version of restorer has the alias nobody in sqlite"),
        ((), ("absent", "out"), "it must be a folder"),
        ((), ("in", "in/out"), "neither may be in the other"),
        ((), ("in/sub", "in"), "neither may be in the other"),
        ((), ("in", "in/sub/a.png/out"), "neither may be in the other"),
        ((), ("in", "file"), "it must be a folder that can be written"),
        (("--workers", "0"), ("in", "out"), "it must be at least 1"),
    ],
)
def test_what_cannot_be_begun_is_said_in_one_line(
    registry: Archive,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: tuple[str, ...],
    folders: tuple[str, str],
    words: str,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", registry.uri)
    write(tmp_path / "in" / "sub" / "a.png")
    (tmp_path / "file").touch()
    monkeypatch.setattr(sys, "argv", ["album", *(str(tmp_path / folder) for folder in folders), *options])
    with pytest.raises(SystemExit) as ended:
        album.main()
    assert ended.value.code == 2
    assert words in capsys.readouterr().err


def test_two_albums_never_share_a_folder(made: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "in" / "a.png")
    (tmp_path / "out" / ".autochrome").mkdir(parents=True)
    with album._only_one(tmp_path / "out"):
        assert made() == (2, {})
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
