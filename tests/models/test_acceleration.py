import json
import signal
import subprocess
import sys
import threading
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from torch import Tensor, nn

from models import acceleration, compilation
from models.acceleration import PICTURE_LIMITS, accelerate, signatures
from models.bundle import Config
from models.catalogue import CATALOGUE
from models.compilation import CompilationError, Order, compiled, workshop
from models.predictor import Predictor
from models.task import Task

SCRATCHES = Config("scratches", Task.DETECT, 32, {"width": 2}, {}, {}, "scratches-1907")
GUIDED = replace(SCRATCHES, recipe="guided", task=Task.COLORIZE, network={"width": 2})
LATENT = replace(
    SCRATCHES, recipe="latent", task=Task.RESTORE, network={"width": 2, "normalization": "batch", "blocks": 1}
)
PAIRS = Config(
    "pairs", Task.TRANSLATE, 64, {"width": 2, "normalization": "batch", "dropout": 0.0}, {}, {}, "pairs-1907"
)  # the one that is compiled: it has the fewest layers and one shape
needs_compiler = pytest.mark.skipif(compilation.compiler() is None, reason="there is no C++ compiler")


def predictor(config: Config, batch: int = 3) -> Predictor:
    torch.manual_seed(0)
    return Predictor(config, CATALOGUE[config.recipe].network(config.network), batch=batch)


def photo(height: int, width: int, seed: int = 0) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)


def working_in(folder: Path) -> list[str]:
    """The command lines of processes, compilers too, that name the folder."""
    lines = [" ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"])]
    return [line for line in lines if str(folder) in line]


@needs_compiler
def test_a_compiled_network_answers_as_it_did_before_while_the_old_one_serves() -> None:
    old = predictor(PAIRS)
    photos = [photo(64, 64), photo(80, 160, 1), photo(40, 40, 2)]  # 1, 6 and 1 tiles: batches of 3 and of 2
    expected = old.predict(photos, [None] * 3)
    new: list[Predictor] = []
    reports: list[acceleration.Report] = []

    def search() -> None:
        found, report = accelerate(old, "compile", seconds=570)
        new.append(found)
        reports.append(report)

    thread = threading.Thread(target=search)
    thread.start()
    served = 0
    while thread.is_alive():
        for answer, wanted in zip(old.predict(photos, [None] * 3), expected, strict=True):
            assert np.array_equal(answer, wanted)
        served += 1
        thread.join(1.0)
    assert served
    (report,), (fast,) = reports, new
    assert report.chosen == "compile"
    (trial,) = (trial for trial in report.trials if trial.way == "compile")
    assert trial.refused is None
    assert trial.compiled == (((3, 64, 64),),)
    assert trial.compile_seconds > 0
    assert set(trial.seconds) == {1, 3}
    assert trial.largest_error is not None
    assert trial.largest_error <= 1e-4
    for answer, wanted in zip(fast.predict(photos, [None] * 3), expected, strict=True):
        assert np.abs(answer.astype(int) - wanted.astype(int)).max() <= 1
    assert report.speedup > 0


def test_shapes_that_were_not_compiled_and_larger_batches_are_run_by_the_other_way() -> None:
    network = nn.Conv2d(1, 1, 1)
    calls: list[tuple[int, ...]] = []

    def otherwise(*tensors: Tensor) -> Tensor:
        calls.append(tuple(tensors[0].shape))
        return tensors[0]

    fast = acceleration.Accelerated(network, otherwise, {((1, 8, 8),): lambda tensor: tensor + 1}, batch=2)
    assert fast(torch.zeros(2, 1, 8, 8)).max() == 1
    assert not calls
    for shape in ((3, 1, 8, 8), (1, 1, 8, 16)):
        assert fast(torch.zeros(shape)).max() == 0
    assert fast(torch.zeros(1, 1, 8, 8), torch.zeros(1, 3, 8, 8)).max() == 0  # with hints: another network, as it were
    assert calls == [(3, 1, 8, 8), (1, 1, 8, 16), (1, 1, 8, 8)]


@needs_compiler
def test_compiling_ends_with_its_time_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    slow = predictor(SCRATCHES)
    same, report = accelerate(slow, "compile", seconds=0.5)
    assert same is slow
    assert report.chosen == "eager"
    (trial,) = (trial for trial in report.trials if trial.way == "compile")
    assert trial.refused is not None
    assert "longer than the" in trial.refused
    assert not working_in(tmp_path)
    assert not any(tmp_path.iterdir())


def test_a_network_that_cannot_be_compiled_is_named() -> None:
    slow = predictor(SCRATCHES)
    with workshop(SCRATCHES, slow.network) as folder, pytest.raises(CompilationError, match="compiling ended with 1: "):
        compiled(folder, ((3, 30, 32),), 1, 300)  # no multiple of 16


def test_compiling_ends_with_who_ordered_it(tmp_path: Path) -> None:
    with workshop(SCRATCHES, predictor(SCRATCHES).network) as folder:
        order = Order(str(folder / "bundle"), str(tmp_path / "x.pt2"), [[3, 32, 32]], 1, 1)
        command = [sys.executable, "-m", "models.compilation", json.dumps(asdict(order))]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
        assert process.stdin
        process.stdin.close()  # as when the process at its other end is killed
        assert process.wait() == -signal.SIGKILL
    assert not (tmp_path / "x.pt2").exists()


def test_without_a_compiler_there_is_still_a_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acceleration, "compiler", lambda: None)
    found, report = accelerate(predictor(LATENT))
    by_way = {trial.way: trial for trial in report.trials}
    assert by_way["compile"].refused == "there is no C++ compiler: no g++, no clang++, and $CXX names none"
    assert report.chosen in ("eager", "channels_last", "bfloat16")
    fastest = min(report.trials, key=lambda trial: trial.seconds.get(3, 1e9))
    assert report.chosen == fastest.way
    mask = np.zeros((40, 50), np.bool_)
    mask[5:9] = True
    (answer,), (wanted,) = (each.predict([photo(40, 50)], [mask]) for each in (found, predictor(LATENT)))
    assert np.abs(answer.astype(int) - wanted.astype(int)).max() <= 1


@pytest.mark.parametrize("off", [2 * PICTURE_LIMITS[1], float("nan")])
def test_what_is_further_off_than_allowed_is_refused_however_fast(monkeypatch: pytest.MonkeyPatch, off: float) -> None:
    def worse(network: nn.Module) -> compilation.Run:
        return lambda *tensors: network(*tensors) + off

    monkeypatch.setattr(acceleration, "_channels_last", worse)
    slow = predictor(SCRATCHES)
    same, report = accelerate(slow, "channels_last")
    assert same is slow
    (trial,) = (trial for trial in report.trials if trial.way == "channels_last")
    assert trial.largest_error == pytest.approx(off, rel=1e-3, nan_ok=True)
    assert trial.refused is not None
    assert "the limits are" in trial.refused


def test_colorizers_keep_hints_and_multiples() -> None:
    found, report = accelerate(predictor(GUIDED), "channels_last")
    assert report.chosen == "channels_last"
    assert found is not None
    assert getattr(found.network, "hinted", False)
    assert found.network.multiple == predictor(GUIDED).network.multiple


def test_nothing_to_learn_is_nothing_to_accelerate() -> None:
    config = replace(LATENT, recipe="classical", network={"method": "telea", "radius": 3})
    same = predictor(config)
    assert accelerate(same) == (same, acceleration.Report("eager", (acceleration.Trial("eager", {}, 0.0, 0.0),)))


def test_the_shapes_that_a_predictor_gives() -> None:
    assert signatures(SCRATCHES, nn.Identity()) == [((3, 32, 32),)]
    masked = predictor(LATENT).network
    assert signatures(LATENT, masked) == [((3, 32, 32),), ((3, 32, 32), (1, 32, 32))]
    guided = replace(GUIDED, size=128)
    assert signatures(guided, nn.Identity())[:3] == [((1, 128, 128),), ((1, 128, 171),), ((1, 171, 128),)]
