"""A registered model as others use it: in processes that know nothing of this repository."""

import base64
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import httpx
import numpy as np
import pandas as pd
import pytest
from mlflow.pyfunc.model import PythonModelContext
from numpy.typing import NDArray

from models.predictor import Predictor
from pipelines import evaluate
from pipelines.freeze import encode
from pipelines.pyfunc import BundleModel
from tests.pipelines import exam

LOAD = """
import sys, json, base64, mlflow, pandas as pd
table = pd.DataFrame({name: [None if cell is None else base64.b64decode(cell) for cell in cells]
                      for name, cells in json.load(sys.stdin).items()})
model = mlflow.pyfunc.load_model(sys.argv[1])
try:
    print(json.dumps([base64.b64encode(photo).decode() for photo in model.predict(table)["photo"]]))
except ValueError as error:
    print(json.dumps(str(error)))
import models
assert "mlruns" in models.__file__, models.__file__
"""


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory, tracking_database: Path, examined: exam.Examined) -> Path:
    """A folder with both models registered."""
    folder = tmp_path_factory.mktemp("line")
    shutil.copy(tracking_database, folder / "mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        shutil.copytree(examined.folder / "build", folder / "build")
        for recipe in ("pix2pix", "colorgan"):
            exam.registered(recipe)
    return folder


def environment(line: Path) -> dict[str, str]:
    """Without PYTHONPATH: the model brings its code along."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    switches = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}
    # A model on this disk is loaded where it lies: its folder is to stay as `register` made it.
    switches["PYTHONDONTWRITEBYTECODE"] = "1"
    return kept | switches | {"MLFLOW_TRACKING_URI": f"sqlite:///{line}/mlflow.db", "PATH": path}


def text(picture: NDArray[np.uint8]) -> str:
    return base64.b64encode(encode(picture)).decode()


def picture(encoded: str) -> NDArray[np.uint8]:
    read = cv2.imdecode(np.frombuffer(base64.b64decode(encoded), np.uint8), cv2.IMREAD_COLOR_RGB)
    assert read is not None
    return np.asarray(read, np.uint8)


def loaded(line: Path, elsewhere: Path, model: str, table: dict[str, list[str | None]]) -> list[str] | str:
    command = [sys.executable, "-P", "-c", LOAD, f"models:/{model}@champion"]
    done = subprocess.run(
        command,
        cwd=elsewhere,
        env=environment(line),
        input=json.dumps(table),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer: list[str] | str = json.loads(done.stdout)
    return answer


def test_loaded_elsewhere_it_answers_what_was_measured(line: Path, tmp_path: Path) -> None:
    photos = [exam.photograph(7)[:50, :41], exam.photograph(8)]
    mask = np.zeros((50, 41), np.uint8)
    mask[:9] = 255
    table: dict[str, list[str | None]] = {"photo": [text(photo) for photo in photos], "mask": [text(mask), None]}
    answers = loaded(line, tmp_path, "restorer", table)
    measured = Predictor.from_bundle(line / evaluate.BUNDLES / "pix2pix").predict(photos, [mask > 0, None])
    for answer, expected in zip(answers, measured, strict=True):
        np.testing.assert_allclose(picture(answer).astype(int), expected, atol=1)
    np.testing.assert_array_equal(picture(answers[0])[9:], photos[0][9:])


@pytest.fixture
def model(line: Path) -> tuple[BundleModel, PythonModelContext]:
    bundle = str(line / evaluate.BUNDLES / "pix2pix")
    context = PythonModelContext({"bundle": bundle}, {})  # type: ignore[no-untyped-call]
    restorer = BundleModel()
    restorer.load_context(context)
    return restorer, context


PHOTO = encode(exam.photograph(7)[:50, :41])


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"photo": [PHOTO, b"no picture"]}, "row 1: photo is no readable picture"),
        ({"photo": [PHOTO, b""]}, "row 1: photo is no readable picture"),
        ({"photo": [PHOTO, "no base64"]}, "row 1: photo is no readable picture"),
        ({"photo": [PHOTO], "mask": [b"no picture"]}, "row 0: mask is no readable picture"),
        ({"photo": [PHOTO], "mask": [encode(np.zeros((5, 9), np.uint8))]}, "row 0: mask is 9 x 5; it must be 41 x 50"),
    ],
)
def test_it_names_the_row_that_is_wrong(
    model: tuple[BundleModel, PythonModelContext], table: dict[str, list[bytes]], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        model[0].predict(model[1], pd.DataFrame(table))


def test_sixteen_bits_stay_sixteen(model: tuple[BundleModel, PythonModelContext]) -> None:
    deep = cv2.imencode(".png", exam.photograph(7).astype(np.uint16) * 257)[1].tobytes()
    answer = model[0].predict(model[1], pd.DataFrame({"photo": [deep]}))["photo"][0]
    read = cv2.imdecode(np.frombuffer(answer, np.uint8), cv2.IMREAD_UNCHANGED)
    assert read is not None
    assert read.shape == (64, 64, 3)
    assert read.dtype.itemsize == 2


def test_base64_is_taken_for_the_bytes_it_stands_for(model: tuple[BundleModel, PythonModelContext]) -> None:
    table = pd.DataFrame({"photo": [PHOTO, base64.b64encode(PHOTO).decode()], "mask": [b"", None]})
    answers = model[0].predict(model[1], table)["photo"]
    assert answers[0] == answers[1]


def test_nothing_is_pickled_and_every_package_is_pinned(line: Path) -> None:
    files = {path.name: path for path in (line.parent).glob("tracking*/mlruns/**/*") if path.is_file()}
    assert {"MLmodel", "pyfunc.py", "config.json", "weights.safetensors", "predictor.py"} <= files.keys()
    assert not [name for name in files if name.endswith((".pkl", ".pickle", ".pt", ".pth", ".pyc"))]
    assert all("==" in line and "+" not in line for line in files["requirements.txt"].read_text().splitlines())


@pytest.fixture
def address(line: Path, tmp_path: Path) -> Iterator[str]:
    """`mlflow models serve`, up and answering."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = ["mlflow", "models", "serve", "-m", "models:/colorizer@champion", "--env-manager", "local"]
    with (tmp_path / "log").open("w") as log:
        server = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)],
            cwd=tmp_path,
            env=environment(line),
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        wait_until_up(f"http://127.0.0.1:{port}/ping", server)
        yield f"http://127.0.0.1:{port}/invocations"
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)


def wait_until_up(url: str, server: subprocess.Popen[bytes]) -> None:
    for _ in range(240):
        assert server.poll() is None, "mlflow models serve ended"
        try:
            if httpx.get(url).status_code == 200:
                return
        except httpx.HTTPError:
            time.sleep(0.5)
    pytest.fail("mlflow models serve did not come up in two minutes")


def test_served_by_mlflow_it_answers_over_http(line: Path, address: str) -> None:
    photos = [exam.photograph(7)[:50, :41], exam.photograph(8)]
    body = {"dataframe_records": [{"photo": text(photo)} for photo in photos]}
    answer = httpx.post(address, json=body, timeout=60)
    assert answer.status_code == 200, answer.text
    measured = Predictor.from_bundle(line / evaluate.BUNDLES / "colorgan").predict(photos, [None, None])
    for row, expected in zip(answer.json()["predictions"], measured, strict=True):
        np.testing.assert_allclose(picture(row["photo"]).astype(int), expected, atol=1)
    bad = httpx.post(address, json={"dataframe_records": [{"photo": "AAAA"}]}, timeout=60)
    assert bad.status_code == 400
    assert "row 0: photo is no readable picture" in bad.text
