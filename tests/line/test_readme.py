"""Every command of the README is run, in its order, in a clone where the line has run once."""

import csv
import http.client
import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer
from PIL import Image

from tests.line.clone import VENV, Clone, wait_until

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"


def blocks() -> list[str]:
    return re.findall(r"^```bash\n(.*?)^```", README.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def block_with(command: str) -> str:
    found = [block for block in blocks() if command in block]
    assert len(found) == 1, f"{command} stands in {len(found)} blocks of the README"
    return found[0]


def made(block: str) -> str:
    """The block with `make` using the environment that runs the tests as it is."""
    return re.sub(r"^make ", f"make -o {VENV}/ready VENV={VENV} ", block, flags=re.MULTILINE)


@contextmanager
def served(clone: Clone, command: str, port: int, log: Path) -> Iterator[None]:
    """A `make` verb that serves until it is interrupted."""
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0, f"something else listens on port {port}"
    server = clone.start(made(command), log)
    try:
        wait_until(lambda: _answers(port) or server.poll() is not None, 300, f"{command} to answer")
        assert server.poll() is None, log.read_text(errors="replace")[-4000:]
        yield
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            server.wait(timeout=60)
        wait_until(lambda: not _listens(port), 60, f"{command} to stop")


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/v1/models" if port == 8000 else "/health")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def test_every_block_has_its_test() -> None:
    tested = [
        "make demo",
        "dvc exp run",
        "dvc push",
        "make serve",
        "serving.album",
        "make ui",
        "mlflow.pyfunc.load_model",
    ]
    assert sorted(blocks()) == sorted(block_with(command) for command in tested)


def test_the_two_commands(line: Clone) -> None:
    demo, test = block_with("make demo").strip().splitlines()
    assert demo.split("#")[0].strip() == "make demo"
    assert test.split("#")[0].strip() == "make test"
    # `make test` is what runs this test: CI calls nothing else.
    assert "exec make test" in (ROOT / ".ci/run").read_text(encoding="utf-8")
    output = line.run(made(demo))
    assert "restorer/1" in output
    assert "colorizer/1" in output
    with Image.open(line.root / "build/demo.png") as picture:
        assert picture.width > picture.height > 256
    assert not [process for process in line.processes() if "ray" in process.name()]


def test_the_teams_commands(line: Clone) -> None:
    commands = block_with("dvc exp run").splitlines()
    assert commands.pop(0) == "source .venv/bin/activate"
    output = line.run("set -e\n" + "\n".join(commands))
    assert "Ran experiment(s)" in output
    assert "Running stage 'train@pix2pix'" in output
    assert "Running stage 'train@colorgan'" not in output
    assert "metrics/pix2pix.json" in output
    assert (line.root / "dvc_plots/index.html").exists()
    line.run("git checkout -q -- . && dvc repro")


def test_ones_own_photographs_in_ones_own_store(line: Clone, monkeypatch: pytest.MonkeyPatch) -> None:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    try:
        line.run(f"curl -sf -X PUT http://{host}:{port}/photographs")
        output = line.run("set -e\n" + block_with("dvc push"))
        assert re.search(r"\d+ files pushed", output)
    finally:
        server.stop()
        line.run("git checkout -q -- params.yaml data.dvc .dvc")


def test_the_clients_commands(line: Clone, tmp_path: Path) -> None:
    serve, *commands = block_with("make serve").splitlines()
    with served(line, serve.split("#")[0].strip(), 8000, tmp_path / "serve.log"):
        output = line.run("set -e\n" + "\n".join(commands))
    assert '"restorer"' in output
    with Image.open(line.root / "docs/images/damaged.jpg") as sent:
        for answer, form in (("revived.png", "PNG"), ("restored.jpg", "JPEG")):
            with Image.open(line.root / answer) as picture:
                assert (picture.size, picture.format) == (sent.size, form)


def test_the_shoeboxs_command(line: Clone) -> None:
    line.run(block_with("serving.album"))
    with (line.root / "revived/report.csv").open(newline="", encoding="utf-8") as file:
        outcomes = {row["file"]: row["outcome"] for row in csv.DictReader(file)}
    sent = sorted(path.name for path in (line.root / "docs/images").iterdir())
    assert outcomes == dict.fromkeys(sent, "done")
    with Image.open(line.root / "docs/images/damaged.jpg") as old, Image.open(line.root / "revived/damaged.jpg") as new:
        assert new.size == old.size


def test_the_analysts_command(line: Clone, tmp_path: Path) -> None:
    with served(line, block_with("make ui").split("#")[0].strip(), 5000, tmp_path / "ui.log"):
        connection = http.client.HTTPConnection("127.0.0.1", 5000, timeout=30)
        connection.request("GET", "/api/2.0/mlflow/registered-models/get?name=restorer")
        assert b'"restorer"' in connection.getresponse().read()


def test_the_programs_lines(line: Clone) -> None:
    line.run(block_with("mlflow.pyfunc.load_model"))
    with Image.open(line.root / "docs/images/damaged.jpg") as sent, Image.open(line.root / "colorized.png") as picture:
        assert picture.size == sent.size
