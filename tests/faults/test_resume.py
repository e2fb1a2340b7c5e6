"""Trainings that are really killed: they go on from the last checkpoint, in the same MLflow run, as if undisturbed."""

import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import psutil
import pytest

from tests.pipelines import trial

TRAIN = ("-m", "pipelines.train", "pix2pix")
NUMBERS = {"epochs": 12, "checkpoint_every": 5}  # 4 steps of the discriminator, 48 of both
STEPS = {
    "discriminator/discriminator": range(1, 5),
    "adversarial/l1": range(5, 53),
    "adversarial/generator": range(5, 53),
}
Told = dict[str, list[tuple[int, float]]]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Told:
    """What the same training says when nothing happens to it: metric -> (step, value)."""
    folder = trial.set_up(tmp_path_factory.mktemp("undisturbed"), **NUMBERS)
    status, said = trial.run(folder, *TRAIN, "--bare", OMP_NUM_THREADS="1")
    assert status == 0, said
    return trial.losses(folder)


def wait_for(what: Callable[[], Any], process: subprocess.Popen[str], seconds: float = 120) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = what()
        if found:
            return found
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.02)
    raise AssertionError("it did not happen")


def checkpoint_beyond(folder: Path, step: int) -> Callable[[], bool]:
    """Whether there is a checkpoint of a later step."""

    def there() -> bool:
        found = folder.glob("build/runs/*/checkpoints/step-*")
        return any(int(path.name.removeprefix("step-")) > step for path in found)

    return there


def training_worker(driver: int) -> psutil.Process:
    """The Ray worker that trains: of those below the driver, the one whose title says so."""
    below = psutil.Process(driver).children(recursive=True)
    (worker,) = (process for process in below if "RayTrainWorker" in " ".join(process.cmdline()))
    return worker


def mlflow_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(folder)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    client = mlflow.MlflowClient(f"sqlite:///{folder}/mlflow.db")
    experiment = client.get_experiment_by_name("autochrome")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    return run, client


def told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Told:
    """What the one MLflow run holds, and that it ended well."""
    run, client = mlflow_run(folder, monkeypatch)
    assert run.info.status == "FINISHED"
    names = [name for name in run.data.metrics if not name.startswith("system/")]
    return {name: [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, name)] for name in names}


def assert_same(found: Told, expected: Told) -> None:
    assert set(found) == set(expected)
    for name, values in expected.items():
        assert [step for step, _ in found[name]] == [step for step, _ in values], name
        assert [value for _, value in found[name]] == pytest.approx([value for _, value in values], rel=1e-4), name


def test_killed_worker(tmp_path: Path, undisturbed: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = trial.set_up(tmp_path, **NUMBERS)
    driver = trial.start(folder, *TRAIN, OMP_NUM_THREADS="1")
    wait_for(checkpoint_beyond(folder, 14), driver)
    worker = training_worker(driver.pid)
    worker.kill()
    said, _ = driver.communicate(timeout=180)
    assert driver.returncode == 0, said
    found = told(folder, monkeypatch)
    assert {name: [step for step, _ in found[name]] for name in STEPS} == {name: list(s) for name, s in STEPS.items()}
    assert_same(found, undisturbed)


def test_killed_driver_and_its_damaged_checkpoint(
    tmp_path: Path, undisturbed: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = trial.set_up(tmp_path, **NUMBERS)
    driver = trial.start(folder, *TRAIN, OMP_NUM_THREADS="1")
    wait_for(checkpoint_beyond(folder, 14), driver)
    worker = training_worker(driver.pid)

    driver.kill()
    driver.wait()
    _, alive = psutil.wait_procs([worker], timeout=30)  # Ray's own agents take a minute more to notice
    assert not alive
    run, _ = mlflow_run(folder, monkeypatch)
    assert run.info.status == "RUNNING"

    newest = max(folder.glob("build/runs/*/checkpoints/step-*/state.pt"))
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    status, said = trial.run(folder, *TRAIN, OMP_NUM_THREADS="1")
    assert status == 0, said
    assert f"{newest} has another sha256" in said
    again, _ = mlflow_run(folder, monkeypatch)
    assert again.info.run_id == run.info.run_id
    assert_same(told(folder, monkeypatch), undisturbed)


def test_second_driver_is_refused_and_the_first_one_terminated_leaves_nothing_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = trial.set_up(tmp_path, **NUMBERS | {"epochs": 2000})
    driver = trial.start(folder, *TRAIN, OMP_NUM_THREADS="1")
    wait_for(checkpoint_beyond(folder, 4), driver)
    status, refused = trial.run(folder, *TRAIN)
    assert status == 1
    assert f"already running (pid {driver.pid})" in refused

    children = psutil.Process(driver.pid).children(recursive=True)
    driver.send_signal(signal.SIGTERM)
    said, _ = driver.communicate(timeout=60)
    assert driver.returncode != 0, said
    assert "Traceback" not in said
    _, alive = psutil.wait_procs(children, timeout=30)
    assert not alive
    run, _ = mlflow_run(folder, monkeypatch)
    assert run.info.status == "FAILED"
