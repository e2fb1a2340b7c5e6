"""Clones of this working tree, as a newcomer has them, but with tests/line/tiny.yaml's numbers."""

import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.line.clone import Clone

ROOT = Path(__file__).resolve().parents[2]
TINY = Path(__file__).with_name("tiny.yaml")


@pytest.fixture(scope="session")
def new_clone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Clone]]:
    """Make clones by name; whatever still runs in them at the end is killed."""
    made: list[Clone] = []

    def make(name: str) -> Clone:
        clone = Clone(tmp_path_factory.mktemp(name) / "autochrome")
        clone.root.mkdir()
        listed = subprocess.check_output(["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, text=True)
        for relative in filter(None, listed.split("\0")):
            if (ROOT / relative).is_file():
                target = clone.root / relative
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / relative, target)
        shutil.copy(TINY, clone.root / "params.yaml")
        clone.run("git init -q && git add -A && git commit -qm 'A fresh clone'")
        made.append(clone)
        return clone

    yield make
    for clone in made:
        for process in clone.processes():
            process.send_signal(signal.SIGKILL)


@pytest.fixture(scope="session")
def line(new_clone: Callable[[str], Clone]) -> Clone:
    """A clone in which the whole line has run once: pix2pix on two CPU workers, the others on one."""
    clone = new_clone("line")
    clone.run("dvc pull")
    clone.run("AUTOCHROME_WORKERS=2 dvc repro train@pix2pix")
    clone.run("AUTOCHROME_WORKERS=1 dvc repro", timeout=1800)
    clone.run("git add -A && git commit -qm 'The whole line, once'")
    return clone
