"""What the running service answers."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import httpx
import numpy as np
import pytest
from PIL import Image

from models.task import Task
from tests.serving.living import Service, pixels
from tests.serving.noise import picture


def test_without_a_champion_it_runs_and_says_so(service: Service) -> None:
    assert service.early.status_code == 503
    assert "no version of restorer has the alias champion" in service.early.json()["error"]["message"]
    assert int(service.early.headers["retry-after"]) > 0
    assert [model["model"] for model in service.early_state["models"]] == ["detector", "restorer", "colorizer"]
    for model in service.early_state["models"]:
        assert [replica["state"] for replica in model["replicas"]] == ["missing"]
    assert service.unready.status_code == 503
    assert sorted(service.unready.json()["missing"]) == ["colorizer", "restorer"]
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
    ready = service.http.get("/readyz")
    assert (ready.status_code, ready.json()) == (200, {"status": "ready", "missing": {}})
    assert "/v1/revive" in service.http.get("/docs").text
    assert service.http.get("/openapi.json").json()["info"]["title"] == "Autochrome"
