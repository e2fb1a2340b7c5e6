"""`dvc repro` as a team lives with it: idle when nothing changed, narrow when something did, whole after a kill."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import yaml

from tests.line.clone import Clone, wait_until

DAMAGED = ("pix2pix", "sagan", "latent", "classical", "scratches")


def stages_to_run(clone: Clone) -> set[str]:
    status = json.loads(clone.run("dvc status --json"))
    return {stage for stage in status if not stage.endswith(".dvc")}


def files(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_a_second_repro_does_nothing(line: Clone) -> None:
    lock = (line.root / "dvc.lock").read_bytes()
    output = line.run("dvc repro")
    assert "Data and pipelines are up to date." in output
    assert "Running stage" not in output
    assert (line.root / "dvc.lock").read_bytes() == lock


def test_the_colorizers_numbers_rerun_nothing_of_the_restorer(line: Clone) -> None:
    path = line.root / "params.yaml"
    before = path.read_text(encoding="utf-8")
    numbers = yaml.safe_load(before)
    numbers["colorgan"]["l1"] += 1
    path.write_text(yaml.safe_dump(numbers), encoding="utf-8")
    try:
        assert stages_to_run(line) == {"train@colorgan"}
    finally:
        path.write_text(before, encoding="utf-8")


def test_the_damage_reruns_nothing_of_the_colorizer(line: Clone) -> None:
    path = line.root / "params.yaml"
    before = path.read_text(encoding="utf-8")
    numbers = yaml.safe_load(before)
    numbers["damage"]["severity"] = 0.9
    path.write_text(yaml.safe_dump(numbers), encoding="utf-8")
    try:
        assert stages_to_run(line) == {"freeze@restore"} | {f"train@{recipe}" for recipe in DAMAGED}
    finally:
        path.write_text(before, encoding="utf-8")


def test_a_fresh_clones_pull_brings_the_photographs_alone(line: Clone, new_clone: Callable[[str], Clone]) -> None:
    fresh = new_clone("pull").root.parent / "fresh"
    line.run(f"git clone -q . {fresh}")
    output = Clone(fresh).run("dvc pull")
    assert "ERROR" not in output
    assert "WARNING" not in output
    assert files(fresh / "data") == files(line.root / "data")
    assert not (fresh / "build").exists()


def test_wrong_numbers_end_in_one_line(line: Clone) -> None:
    path = line.root / "params.yaml"
    before = path.read_text(encoding="utf-8")
    path.write_text(before.replace("severity:", "severitty:"), encoding="utf-8")
    try:
        output = line.run("python -m pipelines.train pix2pix 2>&1; test $? = 1")
    finally:
        path.write_text(before, encoding="utf-8")
    assert "params.yaml: damage.severitty" in output
    assert "did you mean severity?" in output
    assert "Traceback" not in output


def test_a_killed_repro_leaves_no_process_and_its_rerun_the_same_files(
    line: Clone, new_clone: Callable[[str], Clone], tmp_path: Path
) -> None:
    disturbed = new_clone("killed")
    disturbed.run("dvc pull")
    _kill_repro(disturbed, tmp_path / "first.log", "prepare@coco", after="build/prepared")
    _kill_repro(disturbed, tmp_path / "second.log", "train@pix2pix", after="build/runs")
    disturbed.run("dvc repro train@pix2pix")
    for made in ("build/prepared", "build/bundles/pix2pix"):
        found, expected = files(disturbed.root / made), files(line.root / made)
        assert found.keys() == expected.keys()
        assert found == expected


def _kill_repro(clone: Clone, log: Path, stage: str, after: str) -> None:
    """Kill -9 `dvc repro` in the middle of a stage and see that everything it started is gone."""
    repro = clone.start(f"dvc repro {stage}", log)
    running = f"Running stage '{stage}'"
    try:
        wait_until(lambda: running in log.read_text() or repro.poll() is not None, 300, running)
        wait_until(lambda: _anything_under(clone.root / after), 120, f"{stage} to write under {after}")
        assert repro.poll() is None, log.read_text()[-4000:]
    finally:
        repro.kill()
        repro.wait()
    wait_until(lambda: not clone.processes(), 120, f"no process in the clone; there are {clone.processes()}")


def _anything_under(folder: Path) -> bool:
    return folder.is_dir() and any(path.is_file() for path in folder.rglob("*"))
