"""The service as people run it: `serve run` with serving/config.yaml, real HTTP, tiny models in a real registry."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import yaml
from numpy.typing import NDArray
from PIL import Image

import serving
from models.task import Task

ROOT = Path(serving.__file__).parents[1]


@dataclass(frozen=True)
class Service:
    """A running service, and what it said before there was any model."""

    http: httpx.Client
    archive: Any
    early: httpx.Response
    early_state: Any
    looked_into_being: bool

    def post(self, path: str, photo: bytes, **rest: Any) -> httpx.Response:
        return self.http.post(path, files={"photo": photo}, **rest)

    def state(self, task: Task) -> dict[str, Any]:
        models = self.http.get("/v1/models").raise_for_status().json()["models"]
        (replica,) = next(model["replicas"] for model in models if model["model"] == task.model)
        return dict(replica)

    def wait(self, task: Task, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        state: dict[str, Any] = until(lambda: state if wanted(state := self.state(task)) else None)
        return state


def until(asked: Callable[[], Any], seconds: float = 60) -> Any:
    """The first answer that is something."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        answer = asked()
        if answer is not None:
            return answer
        time.sleep(0.2)
    raise AssertionError(f"nothing came of it in {seconds} s")


@pytest.fixture(scope="module")
def service(archive: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("service")
    port = _free_port()
    # As `make serve` runs it, with Ray on the loopback interface.
    environment = {
        **os.environ,
        "MLFLOW_TRACKING_URI": archive.uri,
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
    }
    environment.pop("RAY_ADDRESS", None)
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [Path(sys.executable).with_name("serve"), "run", "--address", "local", _config(folder, port)],
            cwd=ROOT,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as http:
            early = until(lambda: _up(process, folder, http), seconds=120)
            state = until(lambda: said.json() if (said := http.get("/v1/models")).is_success else None)
            looked_into_being = archive.database.exists()
            service = Service(http, archive, early, state, looked_into_being)
            for task in (Task.RESTORE, Task.COLORIZE):
                version = archive.release(task, 1)
                service.wait(task, lambda state, name=f"{task.model}/{version}": state["version"] == name)  # type: ignore[misc]
            yield service
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def _config(folder: Path, port: int) -> Path:
    """serving/config.yaml at another port, and with limits that a test reaches."""
    config = yaml.safe_load((ROOT / "serving" / "config.yaml").read_text())
    config["http_options"]["port"] = port
    application = config["applications"][0]
    application["args"] |= {
        "poll_seconds": 0.5,
        "cache": str(folder / "cache"),
        "max_upload_bytes": 2_000_000,
        "max_pixels": 2_000_000,
        "deadline_seconds": 60,
        "threads": 1,
    }
    for deployment in application["deployments"]:
        deployment["ray_actor_options"]["num_cpus"] = 0
        deployment["autoscaling_config"]["max_replicas"] = 1
        if deployment["name"] == Task.COLORIZE.model:
            deployment |= {"max_ongoing_requests": 1, "max_queued_requests": 12}  # soon too many
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def _up(process: subprocess.Popen[bytes], folder: Path, http: httpx.Client) -> httpx.Response | None:
    """What the service says without a model, as soon as its models' replicas are there to say it."""
    assert process.poll() is None, (folder / "log").read_text()
    try:
        response = http.post("/v1/revive", files={"photo": picture(8, 8)})
    except httpx.TransportError:
        return None
    return response if "no_model" in response.text else None


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def picture(width: int, height: int, kind: str = "PNG", seed: int = 0) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    file = BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def pixels(response: httpx.Response) -> NDArray[np.uint8]:
    assert response.status_code == 200, response.text
    return np.asarray(Image.open(BytesIO(response.content)))


def test_without_a_champion_it_runs_and_says_so(service: Service) -> None:
    assert service.early.status_code == 503
    assert "no version of restorer has the alias champion" in service.early.json()["error"]["message"]
    assert int(service.early.headers["retry-after"]) > 0
    for model in service.early_state["models"]:
        assert [replica["state"] for replica in model["replicas"]] == ["missing"]
    assert not service.looked_into_being  # looking for a registry must not make one


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_every_format_is_revived_at_its_own_size(service: Service, kind: str) -> None:
    response = service.post("/v1/revive", picture(101, 67, kind))
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "image/png"
    assert Image.open(BytesIO(response.content)).size == (101, 67)
    assert response.headers["x-restorer"].startswith("restorer/")
    assert response.headers["x-colorizer"].startswith("colorizer/")
    assert response.headers["x-request-id"]


def test_reviving_is_restoring_then_colorizing(service: Service) -> None:
    sent = picture(90, 120)
    restored = service.post("/v1/restore", sent)
    assert "x-colorizer" not in restored.headers
    both = service.post("/v1/colorize", restored.content)
    revived = service.post("/v1/revive", sent)
    assert restored.status_code == both.status_code == revived.status_code == 200
    assert np.array_equal(pixels(both), pixels(revived))


def test_only_masked_pixels_change(service: Service) -> None:
    sent = picture(70, 50)
    drawn = np.zeros((50, 70), np.uint8)
    drawn[10:20, 30:50] = 255
    file = BytesIO()
    Image.fromarray(drawn).save(file, "PNG")
    response = service.http.post("/v1/restore", files={"photo": sent, "mask": file.getvalue()})
    before, after = np.asarray(Image.open(BytesIO(sent))), pixels(response)
    changed = (before != after).any(axis=-1)
    assert changed.any()
    assert not changed[drawn == 0].any()


def test_a_photograph_larger_than_a_grpc_message(service: Service) -> None:
    """Serve's gRPC between replicas, which RAY_SERVE_THROUGHPUT_OPTIMIZED turns on, stops at 4 MB of pixels."""
    response = service.post("/v1/revive", picture(1500, 1000, "JPEG"))
    assert pixels(response).shape == (1000, 1500, 3)


def test_jpeg_is_answered_where_it_is_asked_for(service: Service) -> None:
    for response in (
        service.post("/v1/restore?format=jpeg", picture(30, 20)),
        service.post("/v1/restore", picture(30, 20), headers={"accept": "image/jpeg"}),
    ):
        assert response.headers["content-type"] == "image/jpeg"
        assert Image.open(BytesIO(response.content)).size == (30, 20)


def test_refusals_cross_the_proxy(service: Service) -> None:
    def code(response: httpx.Response) -> tuple[int, str]:
        return response.status_code, response.json()["error"]["code"]

    assert code(service.post("/v1/revive", picture(50, 50, "JPEG")[:500])) == (400, "unreadable")
    assert code(service.post("/v1/revive", picture(2001, 1000, "JPEG"))) == (413, "too_many_pixels")
    assert code(service.post("/v1/revive", bytes(3_000_000))) == (413, "too_many_bytes")
    assert code(service.post("/v1/revive", b"hello")) == (415, "not_a_picture")
    assert code(service.post("/v1/revive?format=gif", picture(9, 9))) == (422, "invalid")
    mask = {"photo": picture(30, 20), "mask": picture(20, 30)}
    assert code(service.http.post("/v1/revive", files=mask)) == (422, "mask_size")


def test_a_body_of_unknown_length_is_limited_too(service: Service) -> None:
    def chunks() -> Iterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="photo"; filename="a"\r\n\r\n'
        for _ in range(300):
            yield bytes(10_000)
        yield b"\r\n--x--\r\n"

    headers = {"content-type": "multipart/form-data; boundary=x"}
    response = service.http.post("/v1/revive", content=chunks(), headers=headers)
    assert (response.status_code, response.json()["error"]["code"]) == (413, "too_many_bytes")


def test_twelve_at_once_of_mixed_sizes_and_a_broken_one_among_them(service: Service) -> None:
    sizes = [(1, 1), (64, 64), (200, 30), (30, 200), (333, 250), (64, 65)] * 2
    sent = [picture(*size, seed=i) for i, size in enumerate(sizes)]
    sent[5] = sent[5][:200]
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda photo: service.post("/v1/revive", photo), sent))
    alone = [service.post("/v1/revive", photo) for photo in sent]
    assert answers[5].status_code == alone[5].status_code == 400
    for i in set(range(12)) - {5}:
        together, single = (pixels(answer) for answer in (answers[i], alone[i]))
        assert together.shape == (sizes[i][1], sizes[i][0], 3)
        assert np.abs(together.astype(int) - single).max() <= 1  # a batch rounds as it sums


def test_too_many_at_once_are_told_to_come_back(service: Service) -> None:
    photo = picture(400, 300)
    with ThreadPoolExecutor(60) as pool:
        answers = list(pool.map(lambda _: service.post("/v1/colorize", photo), range(60)))
    counts = Counter(answer.status_code for answer in answers)
    assert set(counts) == {200, 503}
    for answer in answers:
        if answer.status_code == 503:
            assert answer.headers["retry-after"]
            assert answer.json()["error"]["code"] == "overloaded"
    assert service.post("/v1/colorize", photo).status_code == 200


def test_follows_the_alias_and_keeps_the_old_version_where_the_new_one_is_corrupt(service: Service) -> None:
    photo = picture(40, 40)
    old = service.post("/v1/restore", photo)
    corrupt = service.archive.release_corrupt(Task.RESTORE, 2)
    state = service.wait(Task.RESTORE, lambda state: state["state"] == "failing")
    assert f"restorer/{corrupt}" in state["error"]
    assert "sha256" in state["error"]
    kept = service.post("/v1/restore", photo)
    assert (kept.status_code, kept.headers["x-restorer"]) == (200, old.headers["x-restorer"])
    assert kept.content == old.content

    new = service.archive.release(Task.RESTORE, 3)
    service.wait(Task.RESTORE, lambda state: state["version"] == f"restorer/{new}")
    swapped = service.post("/v1/restore", photo)
    assert swapped.headers["x-restorer"] == f"restorer/{new}"
    assert swapped.content != old.content


def test_pages(service: Service) -> None:
    assert service.http.get("/healthz").json() == {"status": "ok"}
    assert "/v1/revive" in service.http.get("/docs").text
    assert service.http.get("/openapi.json").json()["info"]["title"] == "Autochrome"
