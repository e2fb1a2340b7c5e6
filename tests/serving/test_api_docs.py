"""docs/api.md is true: each of its code blocks is run against a real service, and it names every refusal."""

import ast
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.task import Task
from tests.serving.living import Service
from tests.serving.running import ROOT

PAGE = ROOT / "docs" / "api.md"
ADDRESS = "http://127.0.0.1:8000"  # the page's
SIZE = (96, 72)
COMMANDS = {
    "bash": ["bash", "-euo", "pipefail", "-c"],
    "python": [sys.executable, "-c"],
    "javascript": ["node", "--input-type=module", "--eval"],
}
# Raised for one photograph of an album, whose state has the sentence alone.
REASONS = {"damaged"}


@dataclass(frozen=True)
class Block:
    """Code of the page."""

    language: str
    heading: str  # the last one before it
    number: int  # of those under it
    code: str

    def __str__(self) -> str:
        return f"{self.heading}-{self.number}-{self.language}"


def blocks() -> list[Block]:
    found: list[Block] = []
    heading = ""
    for match in re.finditer(r"^#+ ([^\n]+)$|^```(\w*)\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL):
        if match[1]:
            heading = match[1]
        else:
            number = 1 + sum(block.heading == heading for block in found)
            found.append(Block(match[2], heading, number, match[3]))
    return found


@dataclass(frozen=True)
class Served:
    """The service as the page takes it for granted: with challengers, and a colorizer that takes hints."""

    address: str
    champions: dict[str, str]
    challengers: dict[str, str]


@pytest.fixture(scope="module")
def served(service: Service) -> Iterator[Served]:
    before = service.state(Task.COLORIZE)["version"]
    service.release(Task.COLORIZE, 31, "guided")
    tasks = (Task.RESTORE, Task.COLORIZE)
    champions = {task.model: service.state(task)["version"] for task in tasks}
    released = {task.model: service.archive.release(task, 32, alias="challenger") for task in tasks}
    challengers = {model: f"{model}/{number}" for model, number in released.items()}
    yield Served(str(service.http.base_url).rstrip("/"), champions, challengers)
    service.point(before)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What the page takes for granted: a photograph, its mask, and scans in a folder and in a zip."""
    pixels = np.random.default_rng(0).integers(0, 256, (*SIZE[::-1], 3), np.uint8)
    mask = np.zeros(SIZE[::-1], np.uint8)
    mask[20:30, 10:60] = 255
    Image.fromarray(pixels).save(tmp_path / "old.jpg")
    Image.fromarray(mask).save(tmp_path / "mask.png")
    (tmp_path / "scans").mkdir()
    with zipfile.ZipFile(tmp_path / "scans.zip", "w") as scans:
        for name in ("scans/a.jpg", "scans/b.jpg"):
            Image.fromarray(pixels).save(tmp_path / name)
            scans.write(tmp_path / name, name)
    return tmp_path


@pytest.mark.parametrize("block", blocks(), ids=str)
def test_a_block_does_what_the_page_says(block: Block, served: Served, folder: Path) -> None:
    given = {path.name for path in folder.iterdir()}
    said = run(block, served.address, folder)
    for name in set(re.findall(r"[\w-]+\.(?:png|tif|webp)", block.code)) - given:
        with Image.open(folder / name) as picture:
            assert picture.size == SIZE
            assert picture.format == {".png": "PNG", ".tif": "TIFF", ".webp": "WEBP"}[Path(name).suffix]
    if "pictures.zip" in block.code:
        check_album(folder / "pictures.zip")
    if "Restorer" in block.code:
        assert " ".join(served.champions.values()) in said


def run(block: Block, address: str, folder: Path) -> str:
    """What the block prints; it fails where the block does."""
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),  # python -m serving.keys
    }
    done = subprocess.run(
        [*COMMANDS[block.language], block.code.replace(ADDRESS, address)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def check_album(path: Path) -> None:
    with zipfile.ZipFile(path) as pictures:
        names = pictures.namelist()
        assert "report.csv" in names
        assert pictures.read("report.csv").count(b",done,") == 2
        for name in set(names) - {"report.csv"}:
            with Image.open(BytesIO(pictures.read(name))) as picture:
                assert picture.size == SIZE
    assert len(names) == 3


def test_every_language_is_shown() -> None:
    assert {block.language for block in blocks()} == set(COMMANDS)


def test_other_models_answer_where_the_page_asks_for_them(service: Service, served: Served, folder: Path) -> None:
    """The two X-Model lines of the page, and what their headers say."""
    wishes = re.findall(r"-H 'X-Model: (.+?)'", PAGE.read_text())
    answers = [service.post("/v1/revive", (folder / "old.jpg").read_bytes(), wish) for wish in wishes]
    made_by = [(answer.headers["x-restorer"], answer.headers["x-colorizer"]) for answer in answers]
    assert made_by == [tuple(served.challengers.values()), ("restorer/1", "colorizer/2")]


def test_every_refusal_is_on_the_page_and_none_that_is_not_made() -> None:
    table = PAGE.read_text().split("\n## Refusals\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| \d+[^|]*\|([^|]*)\|", table, re.MULTILINE)
    documented = {code for row in rows for code in re.findall(r"`(\w+)`", row)}
    made = {code for path in (ROOT / "serving").rglob("*.py") for code in codes(path)} - REASONS
    assert documented == made


def codes(path: Path) -> set[str]:
    """The codes of the Refusals that a file makes."""
    calls = (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))
    return {
        str(call.args[1].value)
        for call in calls
        if isinstance(call.func, ast.Name) and call.func.id == "Refusal" and isinstance(call.args[1], ast.Constant)
    }
