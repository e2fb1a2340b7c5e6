import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow import MlflowClient
from PIL import Image

from models import colorgan
from models.bundle import Config
from models.task import Task
from pipelines import card, tracking
from pipelines.board import Basis
from pipelines.card import Answered, Subject
from pipelines.contact import GAP, STRIP
from pipelines.stage import StageError
from pipelines.versions import Registry

MANIFEST = hashlib.sha256(b"manifest").hexdigest()
BASIS = Basis("a" * 64, "p", "lpips_mobilenet", {"grey": {"lpips_mobilenet": 0.2, "psnr": 22.5}}, {})


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, tracking_database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(tracking_database, tmp_path / "mlflow.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")


def subject(**params: Any) -> Subject:
    given = {"batch": 4, "l1": 100.0, **params}
    config = Config("colorgan", Task.COLORIZE, 128, {}, given, {"coco": MANIFEST, "more": "gone"}, "colorgan-1")
    metrics = {"lpips_mobilenet": 0.12345, "psnr": 23.456, "photographs": 5}
    return Subject("colorizer/3", config, "b" * 64, metrics, "colorizer/3 is champion: it is better than grey")


def answered(distances: list[float]) -> list[Answered]:
    def grey(level: int) -> Any:
        return np.full((32, 32, 3), level, np.uint8)

    return [
        Answered(f"coco/{place}.png", [grey(0), grey(40 * place), grey(255)], distance, f"LPIPS {distance}")
        for place, distance in enumerate(distances)
    ]


def evaluation() -> Path:
    folder = Path("build/evaluation/colorgan")
    folder.mkdir(parents=True)
    card.write_pictures(folder, ("grey", "colorized", "true"), answered([0.1, 0.5, 0.2, 0.9, 0.3]))
    return folder


def written(of: Subject) -> str:
    target = Path("build/cards/colorgan")
    card.write_card(target, of, BASIS, evaluation(), Path("data"), Path("build/prepared"))
    return (target / "card.md").read_text(encoding="utf-8")


def prepared(manifest: bytes = b"manifest") -> None:
    folder = Path("build/prepared/coco")
    folder.mkdir(parents=True)
    (folder / "manifest.parquet").write_bytes(manifest)
    report = {"splits": {"train": 200, "validation": 20, "test": 40}, "left_out": {"grey": 7, "duplicate": 1}}
    (folder / "report.json").write_text(json.dumps(report), encoding="utf-8")


def test_the_three_worst_answers_are_shown_worst_first() -> None:
    folder = evaluation()
    worst = json.loads((folder / "failures.json").read_text(encoding="utf-8"))
    assert [(one["source"], one["distance"]) for one in worst] == [
        ("coco/3.png", 0.9),
        ("coco/1.png", 0.5),
        ("coco/4.png", 0.3),
    ]
    picture = np.asarray(Image.open(folder / "failures.png"))
    step, middle = 32 + STRIP + GAP, GAP + 32 + GAP + 16
    assert [int(picture[STRIP + place * step + 16, middle, 0]) for place in range(3)] == [120, 40, 160]
    assert Image.open(folder / "thumbnails.jpg").size == (4 * 96, 96)


def test_fewer_answers_than_three_are_all_shown(tmp_path: Path) -> None:
    card.write_pictures(tmp_path, ("grey", "colorized", "true"), answered([0.1, 0.5]))
    worst = json.loads((tmp_path / "failures.json").read_text(encoding="utf-8"))
    assert [one["source"] for one in worst] == ["coco/1.png", "coco/0.png"]


def test_the_card_says_what_it_is_how_good_and_where_it_fails() -> None:
    prepared()
    text = written(subject())
    assert text.startswith("# colorizer/3: colorgan\n")
    assert "**Verdict.** colorizer/3 is champion: it is better than grey" in text
    assert "colours are guesses" in text
    assert "|  | colorizer/3 | grey |\n| --- | --- | --- |\n| lpips_mobilenet ↓ | 0.123 | 0.200 |\n" in text
    assert "| psnr ↑ | 23.46 | 22.50 |" in text
    assert "- `coco/3.png`: LPIPS 0.9" in text
    assert f"| coco | {MANIFEST[:12]} | 200 | 20 | 40 | grey 7, duplicate 1 |" in text
    assert "| more | gone | (not here) |" in text
    assert "batch: 4\nl1: 100.0\n" in text
    assert "colorgan-1" in text
    assert (Path("build/cards/colorgan/failures.png")).exists()


def test_counts_of_a_set_that_was_prepared_anew_are_not_given() -> None:
    prepared(b"another")
    assert f"| coco | {MANIFEST[:12]} | (prepared anew since) |" in written(subject())


def test_a_recipes_own_file_says_what_it_is() -> None:
    first = (colorgan.__doc__ or "").splitlines()[0]
    assert first
    assert f"\n{first}\n" in written(subject())


def test_an_unknown_licence_says_where_to_say_it() -> None:
    assert card.licence("coco", Path("data")) == "unknown: say so in data/SOURCES.md"
    Path("data").mkdir()
    Path("data/SOURCES.md").write_text("- `more/x`: MIT\n", encoding="utf-8")
    assert "unknown" in card.licence("coco", Path("data"))


def test_licences_come_from_the_sets_file_and_the_lines_of_sources_that_name_it() -> None:
    Path("data/coco").mkdir(parents=True)
    Path("data/coco/LICENSE.txt").write_text("\n  Creative Commons BY 4.0\nmore\n", encoding="utf-8")
    Path("data/SOURCES.md").write_text(
        "# Photographs\n\n| folder | licence |\n|---|---|\n| `coco/images` | per image |\n| `more/` | MIT |\n", "utf-8"
    )
    assert card.licence("coco", Path("data")) == "`LICENSE.txt`: Creative Commons BY 4.0; `coco/images` · per image"
    assert card.licence("more", Path("data")) == "`more/` · MIT"
    Path("data/SOURCES.md").write_text("`more/` holds kites.\nAll of them are CC0 1.0.\n", "utf-8")
    assert card.licence("more", Path("data")) == "All of them are CC0 1.0."


def test_an_evaluation_without_pictures_is_an_error_that_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"failures.json is missing; run `python -m pipelines.evaluate colorgan`"):
        card.write_card(tmp_path / "card", subject(), BASIS, tmp_path, Path("data"), Path("build/prepared"))
    assert not (tmp_path / "card").exists()


def test_mlflow_has_the_card_as_artifacts_and_as_the_versions_description() -> None:
    text = written(subject(**{f"number{index:04}": index for index in range(600)}))
    client, run_id = MlflowClient(tracking.address()), tracking.start_or_continue("colorgan-1", {})
    client.create_registered_model("colorizer")
    client.create_model_version("colorizer", f"runs:/{run_id}/model", run_id)
    registry = Registry("colorizer")
    for _ in range(2):
        card.publish(registry, registry.every()[0], Path("build/cards/colorgan"))
    assert [file.path for file in client.list_artifacts(run_id, "card")] == ["card/card.md", "card/failures.png"]
    logged = Path(client.download_artifacts(run_id, "card/card.md"))
    assert logged.read_text(encoding="utf-8") == text
    said = client.get_model_version("colorizer", "1").description
    assert said is not None
    assert len(text) > 5000 >= len(said)
    assert said.startswith(text[:3000])
