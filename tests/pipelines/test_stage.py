import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from pipelines.params import ParamsError
from pipelines.stage import StageError, fresh_folder, stage

ROOT = Path(__file__).resolve().parents[2]

WORK = """
import sys, time
from pathlib import Path
import pipelines.stage
from pipelines.stage import fresh_folder, stage
if "--hasty" in sys.argv:
    pipelines.stage.PATIENCE = 0.5
with stage("work@test"):
    with fresh_folder(Path("out")) as folder:
        for number in range(3):
            (folder / f"{number}.txt").write_text(f"file {number}")
            if "--quick" not in sys.argv:
                Path("started").touch()
                time.sleep(60)
"""


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a stage in it that writes one file, says so by `started`, and then waits."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    (tmp_path / "work.py").write_text(WORK)
    return tmp_path


def start(*command: str) -> subprocess.Popen[str]:
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def wait_for(seen: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not seen():
        assert time.monotonic() < end, "it did not happen within a minute"
        time.sleep(0.05)


def started() -> bool:
    return Path("started").exists()


def stage_pid() -> int:
    return int(Path("build/locks/work@test.lock").read_text())


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def leftovers() -> list[str]:
    return [path.name for path in Path().glob(".out.*")]


@pytest.mark.usefixtures("work")
@pytest.mark.parametrize("tail", ["", "; true"], ids=["sh-execs", "sh-waits"])
def test_the_stage_dies_when_the_program_that_runs_its_shell_is_killed(tail: str) -> None:
    # As `dvc repro` does: python -> sh -c -> python; with the tail the shell stays between the two.
    runner = f"import subprocess; subprocess.run({sys.executable + ' work.py' + tail!r}, shell=True)"
    parent = start(sys.executable, "-c", runner)
    wait_for(started)
    pid = stage_pid()
    assert pid != parent.pid
    parent.kill()
    parent.wait()
    wait_for(lambda: gone(pid))
    assert leftovers() == []


@pytest.mark.usefixtures("work")
def test_a_second_one_is_refused_and_the_first_goes_on_until_sigterm_which_cleans_up_and_exits_143() -> None:
    first = start(sys.executable, "work.py")
    wait_for(started)
    second = subprocess.run([sys.executable, "work.py", "--hasty"], capture_output=True, text=True)
    assert second.returncode == 1
    assert second.stderr == f"work@test: stage work@test is already running (pid {first.pid})\n"
    assert first.poll() is None
    assert leftovers()
    first.terminate()
    assert first.wait() == 143
    assert leftovers() == []
    assert not Path("out").exists()


@pytest.mark.usefixtures("work")
def test_after_kill_9_in_the_middle_the_rerun_leaves_what_an_undisturbed_run_does() -> None:
    Path("out").mkdir()
    Path("out/old.txt").touch()
    first = start(sys.executable, "work.py")
    wait_for(started)
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert [path.name for path in Path("out").iterdir()] == ["old.txt"]
    assert leftovers()
    subprocess.run([sys.executable, "work.py", "--quick"], check=True)
    assert {path.name: path.read_text() for path in Path("out").iterdir()} == {
        f"{n}.txt": f"file {n}" for n in range(3)
    }
    assert leftovers() == []


@pytest.mark.parametrize("error", [StageError("no photographs"), ParamsError("size is 3")])
def test_a_known_error_is_one_line_and_exit_1(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as left, stage("work@test"):
        raise error
    assert left.value.code == 1
    assert capsys.readouterr().err == f"work@test: {error}\n"


def test_a_bug_keeps_its_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ZeroDivisionError), stage("work@test"):
        _ = 1 // 0


def test_an_error_leaves_the_old_folder_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old.txt").touch()
    with pytest.raises(FileNotFoundError), fresh_folder(tmp_path / "out") as folder:
        (folder / "new.txt").write_bytes((tmp_path / "absent").read_bytes())
    assert [path.relative_to(tmp_path).as_posix() for path in sorted(tmp_path.rglob("*"))] == ["out", "out/old.txt"]


@pytest.fixture(autouse=True)
def _restore_signals() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)
