import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from pipelines import family

ROOT = Path(__file__).resolve().parents[2]
STAGE = "from pipelines import family; print(family.repro().key, family.repro().command, sep='\\n')"
REPRO = "import os, subprocess, sys; subprocess.run(['sh', '-c', sys.argv[-1]], env={**os.environ, 'DVC_STAGE': 'one'})"


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "60"])
    yield process
    process.kill()
    process.wait()


def test_a_stage_started_by_hand_belongs_to_no_repro(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(family.DVC_STAGE, raising=False)
    assert family.repro() is None


def test_the_process_that_set_dvcs_variable_is_the_repro_however_many_shells_are_between(tmp_path: Path) -> None:
    (tmp_path / "dvc").write_text(REPRO, encoding="utf-8")
    environment = {key: value for key, value in os.environ.items() if key != family.DVC_STAGE}
    command = f'cd "{ROOT}"; nice sh -c "{sys.executable} -c \\"{STAGE}\\"; true"; true'
    dvc = subprocess.Popen(
        [sys.executable, str(tmp_path / "dvc"), "repro", command], stdout=subprocess.PIPE, text=True, env=environment
    )
    said, _ = dvc.communicate(timeout=60)
    key, typed = said.splitlines()[:2]
    assert key.rsplit(":", 2)[:2] == [socket.gethostname(), str(dvc.pid)]
    assert typed.startswith("dvc repro cd ")


@pytest.mark.parametrize(
    ("command", "title"),
    [
        ("dvc repro train@pix2pix", "dvc repro 1970-01-02"),
        ("dvc repro", "dvc repro 1970-01-02"),
        ("dvc exp run -S evaluate.batch=2", "dvc exp run 1970-01-02"),
    ],
)
def test_people_call_a_repro_by_its_verb_and_its_beginning(command: str, title: str) -> None:
    assert family.Repro("host:1:2", command, 86_400 * 1.5).title.startswith(title)


def test_a_living_process_has_one_key_and_has_not_ended(sleeper: subprocess.Popen[bytes]) -> None:
    key = family.key(sleeper.pid)
    assert key == family.key(sleeper.pid)
    assert not family.ended(key)


def test_a_killed_process_has_ended_before_and_after_its_parent_looks(sleeper: subprocess.Popen[bytes]) -> None:
    key = family.key(sleeper.pid)
    sleeper.kill()
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)
    assert psutil.Process(sleeper.pid).status() == psutil.STATUS_ZOMBIE
    assert family.ended(key)
    sleeper.wait()
    assert family.ended(key)


def test_a_pid_that_was_given_again_is_another_process() -> None:
    host, pid, started = family.key(os.getpid()).rsplit(":", 2)
    assert family.ended(f"{host}:{pid}:{int(started) - 1}")


def test_what_another_machine_runs_has_not_ended_for_us() -> None:
    assert not family.ended("elsewhere.example:1:1")
