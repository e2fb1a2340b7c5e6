import io
import json
import re
import shutil
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow import MlflowClient
from PIL import Image

from models.task import Task
from pipelines import board, leaderboard, rows, tracking
from pipelines.baselines import BASELINES
from pipelines.board import Basis, Board
from pipelines.freeze import FROZEN, FrozenSet
from pipelines.stage import StageError
from pipelines.versions import GATE_TAG, METRICS_TAG
from tests.pipelines import exam
from tests.pipelines.stages import Stages

JUDGE = "lpips_mobilenet"
PROTOCOL = "p" * 64


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, tracking_database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(tracking_database, tmp_path / "mlflow.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    exam.prepare("coco", 4)
    exam.frozen(Task.COLORIZE)


@pytest.fixture
def frozen() -> FrozenSet:
    return FrozenSet.open(FROZEN / Task.COLORIZE)


def basis(frozen: FrozenSet, **changed: Any) -> Basis:
    grey = {JUDGE: 0.2, "psnr": 22.5, "colourfulness_difference": -20.0, "class_accuracy_mobilenet": 0.6}
    whole: dict[str, Any] = {
        "frozen_sha256": frozen.sha256,
        "protocol": PROTOCOL,
        "judged_by": JUDGE,
        "rows": {"grey": grey, "ab_64": {JUDGE: 0.01, "psnr": 35.0}},
        "truth": {"class_accuracy_mobilenet": 0.8},
    }
    return Basis(**(whole | changed))


def added(recipe: str, frozen: FrozenSet, metrics: Mapping[str, Any], aliases: tuple[str, ...] = ()) -> str:
    """A version as `register` leaves it; its run's id."""
    client = MlflowClient(tracking.address())
    if not client.search_registered_models("name = 'colorizer'"):
        client.create_registered_model("colorizer")
    run_id = tracking.start_or_continue(f"{recipe}-0123456789", {})
    measured = {"frozen_sha256": frozen.sha256, "protocol": PROTOCOL, **metrics}
    tags = {
        METRICS_TAG: json.dumps(measured),
        GATE_TAG: json.dumps({"verdict": f"{recipe} is <better> | than grey"}),
        "autochrome.recipe": recipe,
        "autochrome.run": f"{recipe}-0123456789",
    }
    version = client.create_model_version("colorizer", f"runs:/{run_id}/model", run_id, tags=tags)
    for alias in aliases:
        client.set_registered_model_alias("colorizer", alias, version.version)
    return run_id


def surveyed(frozen: FrozenSet, **changed: Any) -> Board:
    return board.survey(Task.COLORIZE, frozen, basis(frozen, **changed))


class Cells(HTMLParser):
    """The table's rows as (class, (data-sort, text) of each cell)."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.rows: list[tuple[str, list[tuple[str, str]]]] = []
        self.inside = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "tr" and "class" in given:
            self.rows.append((given["class"] or "", []))
        if tag == "td":
            self.rows[-1][1].append((given["data-sort"] or "", ""))
            self.inside = True

    def handle_endtag(self, tag: str) -> None:
        self.inside = self.inside and tag != "td"

    def handle_data(self, data: str) -> None:
        if self.inside:
            sort, text = self.rows[-1][1][-1]
            self.rows[-1][1][-1] = (sort, text + data)


def test_versions_and_baselines_stand_in_the_order_of_the_judging_metric(frozen: FrozenSet) -> None:
    added("worse", frozen, {JUDGE: 0.3, "psnr": 30.0})
    added("better", frozen, {JUDGE: 0.1, "psnr": 20.0})
    found = surveyed(frozen)
    assert [(place, one.name) for place, one in found.ranked] == [
        (None, "ab_64"),
        (1, "colorizer/2"),
        (None, "grey"),
        (2, "colorizer/1"),
        (None, "the truth"),
    ]
    assert found.unranked == []


def test_what_was_measured_otherwise_is_not_ranked_and_says_why(frozen: FrozenSet) -> None:
    added("good", frozen, {JUDGE: 0.1})
    added("elsewhere", frozen, {JUDGE: 0.05, "frozen_sha256": "e" * 64})
    added("formerly", frozen, {JUDGE: 0.05, "protocol": "old"})
    added("blind", frozen, {"psnr": 20.0})
    run_id = added("bare", frozen, {})
    client = MlflowClient(tracking.address())
    client.create_model_version("colorizer", f"runs:/{run_id}/model", run_id)
    found = surveyed(frozen)
    assert [one.name for place, one in found.ranked if place] == ["colorizer/1"]
    reasons = {one.name: reason for one, reason in found.unranked}
    assert list(reasons) == [f"colorizer/{number}" for number in range(2, 7)]
    assert "eeeeeeeeeeee" in reasons["colorizer/2"]
    assert frozen.sha256[:12] in reasons["colorizer/2"]
    assert "another way" in reasons["colorizer/3"]
    assert "another way" in reasons["colorizer/4"]
    assert reasons["colorizer/6"] == "it carries no measurement"
    assert all(reason in leaderboard.markdown(found) for reason in reasons.values())


def test_baselines_of_other_photographs_are_an_error_that_names_both(frozen: FrozenSet) -> None:
    with pytest.raises(StageError, match=f"ffffffffffff, now {frozen.sha256[:12]}; run `python -m pipelines.base"):
        surveyed(frozen, frozen_sha256="f" * 64)


@pytest.mark.parametrize("text", [None, "{", "[]", '{"frozen_sha256": "f"}'])
def test_baselines_that_cannot_be_read_are_an_error(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "report.json").write_text(text, encoding="utf-8")
    with pytest.raises(StageError, match=r"report.json cannot be read .*; run `python -m pipelines.baselines"):
        Basis.open(tmp_path)


def test_nothing_registered_is_a_board_of_baselines(frozen: FrozenSet) -> None:
    text = leaderboard.markdown(surveyed(frozen))
    assert "No version of colorizer is ranked." in text
    assert "| - | grey |" in text


def test_markdown_has_a_cell_for_each_heading_whatever_the_verdict_holds(frozen: FrozenSet) -> None:
    measured = {JUDGE: 0.1, "psnr": 21.234, "f1_mobilenet": 1.0}
    run_id = added("good", frozen, measured, ("champion", "challenger"))
    table = [line for line in leaderboard.markdown(surveyed(frozen)).splitlines() if line.startswith("|")]
    assert {len(re.split(r"(?<!\\)\|", line)) for line in table} == {len(table[0].split("|"))}
    headings = [cell.strip() for cell in table[0].strip("|").split("|")]
    assert headings[:5] == ["rank", "version", "recipe", "aliases", "lpips_mobilenet ↓"]
    (line,) = [line for line in table if line.startswith("| 1 |")]
    cells = dict(zip(headings, [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]], strict=True))
    assert (cells["aliases"], cells["psnr ↑"]) == ("challenger, champion", "21.23")
    assert cells["colourfulness_difference →0"] == "-"
    assert cells["verdict"] == "good is <better> \\| than grey"
    assert cells["run"] == f"[good-0123456789]({tracking.run_url(run_id)})"
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d", cells["registered (UTC)"])


def test_the_page_sorts_by_numbers_marks_the_best_version_and_escapes(frozen: FrozenSet) -> None:
    added("worse", frozen, {JUDGE: 0.3, "psnr": 30.0})
    added("better", frozen, {JUDGE: 0.1, "psnr": 20.0}, ("champion",))
    page = leaderboard.page(surveyed(frozen))
    found = Cells(page).rows
    assert [kind for kind, _ in found] == ["baseline", "version", "baseline", "version", "baseline"]
    assert {len(cells) for _, cells in found} == {page.count("<th>")}
    assert found[1][1][0] == ("1", "1")
    assert found[1][1][5] == ("0.1", "0.100")
    assert found[-1][1][5] == ("", "-")
    assert page.count("number best") == 2
    assert re.search(r'class="number best">30.00<', page)
    assert "is &lt;better&gt; | than" in page
    assert not re.search(r'(src|href)="(?!data:|http://127.0.0.1:5000/#)', page)
    assert "$" not in re.sub(r"<script>.*</script>", "", page, flags=re.S)


def test_thumbnails_are_the_runs_own(frozen: FrozenSet, tmp_path: Path) -> None:
    run_id = added("good", frozen, {JUDGE: 0.1})
    red = np.zeros((64, 64, 3), np.uint8)
    red[..., 0] = 255
    (tmp_path / board.THUMBNAILS).write_bytes(board.strip([red, red]))
    tracking.log_files(run_id, [tmp_path / board.THUMBNAILS], "evaluation")
    found = {one.name: one.thumbnails for _, one in surveyed(frozen).ranked}
    assert found["colorizer/1"] == (tmp_path / board.THUMBNAILS).read_bytes()
    grey = np.asarray(Image.open(io.BytesIO(found["grey"] or b"")), np.int16)
    assert np.ptp(grey, axis=2).max() <= 2
    assert np.ptp(np.asarray(Image.open(io.BytesIO(found["the truth"] or b"")), np.int16), axis=2).max() > 50


def test_a_strip_is_the_first_few_small() -> None:
    photos = [np.full((128, 128, 3), level, np.uint8) for level in (0, 50, 100, 150, 200)]
    shown = np.asarray(Image.open(io.BytesIO(board.strip(photos))))
    assert shown.shape == (96, 4 * 96, 3)
    assert [int(shown[48, 96 * place + 48, 0]) for place in range(4)] == pytest.approx([0, 50, 100, 150], abs=2)
    with pytest.raises(ValueError, match="needs one"):
        board.strip([])


def test_the_metric_that_judges_is_shown_whichever_network_is_better_known() -> None:
    measured = {"lpips_alexnet_lin": 1.0, "lpips_mobilenet": 1.0, "frechet_inception": 1.0, "frechet_mobilenet": 1.0}
    found = rows.columns(Task.RESTORE, "lpips_mobilenet", [measured, {"psnr": 1.0, "psnr_inside": 1.0, "other": 1.0}])
    assert [one.name for one in found] == ["lpips_mobilenet", "frechet_inception", "psnr", "psnr_inside"]
    of_masks = rows.columns(Task.DETECT, "f1", [{"precision": 1.0, "f1": 0.5, "f1_mobilenet": 1.0}])
    assert [one.name for one in of_masks] == ["f1", "precision"]


def test_colourfulness_is_best_near_nought() -> None:
    (column,) = rows.columns(Task.COLORIZE, "psnr", [{"colourfulness_difference": 1.0}])[-1:]
    assert column.place({column.name: -3.0}) < column.place({column.name: 4.0})
    assert column.written({column.name: 4.04}) == "+4.0"


def test_the_stage_leaves_both_files_and_mlflow_has_them(stages: Stages, frozen: FrozenSet, tmp_path: Path) -> None:
    added("good", frozen, {JUDGE: 0.1})
    kept = BASELINES / Task.COLORIZE
    kept.mkdir(parents=True)
    whole = basis(frozen)
    (kept / "report.json").write_text(json.dumps(vars(whole)), encoding="utf-8")
    (asked,) = stages.run("pipelines.leaderboard", "colorize", folder=tmp_path)
    assert asked.returncode == 0, asked.stderr
    assert "leaderboard@colorize: 1 versions ranked, 0 not" in asked.stdout
    files = sorted(path.name for path in (leaderboard.LEADERBOARDS / "colorize").iterdir())
    assert files == ["leaderboard.html", "leaderboard.md"]
    client = MlflowClient(tracking.address())
    (run,) = client.search_runs(["1"], "tags.`autochrome.stage` = 'leaderboard@colorize'")
    logged = [file.path for file in client.list_artifacts(run.info.run_id, "leaderboards/colorize")]
    assert logged == [f"leaderboards/colorize/{name}" for name in files]
