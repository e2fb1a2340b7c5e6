import csv
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from pipelines.curves import write_curves
from pipelines.diary import Diary
from pipelines.loop import Row
from pipelines.stage import StageError

ACCURACY = "validation/discriminator_accuracy_real"


def rows(discriminator: int, adversarial: int) -> list[Row]:
    """Two phases of one epoch each; each loss's value is its step, or ten times that."""
    first = [Row(i + 1, 0, {"discriminator/discriminator": float(i + 1)}) for i in range(discriminator)]
    steps = range(discriminator + 1, discriminator + adversarial + 1)
    second = [Row(i, 0, {"adversarial/generator": float(i), "adversarial/l1": 10.0 * i}) for i in steps]
    return [
        *first,
        Row(discriminator, 0, {f"discriminator/{ACCURACY}": 0.75}),
        *second,
        Row(discriminator + adversarial, 0, {f"adversarial/{ACCURACY}": 0.5, "adversarial/validation/l1": 1 / 3}),
    ]


def written(folder: Path, told: list[Row]) -> tuple[list[list[str]], list[list[str]]]:
    Diary(folder, pictures=False).metrics(told)
    write_curves(folder / "metrics.jsonl", folder / "curves")
    return read(folder / "curves" / "losses.csv"), read(folder / "curves" / "validation.csv")


def read(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def test_a_short_training_is_a_line_a_step(tmp_path: Path) -> None:
    losses, validation = written(tmp_path, rows(2, 3))
    assert losses == [
        ["step", "discriminator/discriminator", "adversarial/generator", "adversarial/l1"],
        ["1", "1", "nan", "nan"],
        ["2", "2", "nan", "nan"],
        ["3", "nan", "3", "30"],
        ["4", "nan", "4", "40"],
        ["5", "nan", "5", "50"],
    ]
    assert validation == [
        ["epoch", "step", f"discriminator/{ACCURACY}", f"adversarial/{ACCURACY}", "adversarial/validation/l1"],
        ["1", "2", "0.75", "nan", "nan"],
        ["2", "5", "nan", "0.5", "0.333333"],
    ]


def test_a_long_training_is_means_of_equal_bins(tmp_path: Path) -> None:
    """1202 steps: bins of 4, the 127th of which holds both phases, and the last of which is 2 steps."""
    losses, _ = written(tmp_path, rows(506, 696))
    assert len(losses) == 1 + 301
    assert losses[1] == ["4", "2.5", "nan", "nan"]
    assert losses[127] == ["508", "505.5", "507.5", "5075"]
    assert losses[-1] == ["1202", "nan", "1201.5", "12015"]


@pytest.mark.parametrize(("steps", "lines"), [(399, 399), (400, 400), (401, 201), (10_001, 385)])
def test_there_are_400_lines_at_most(tmp_path: Path, steps: int, lines: int) -> None:
    losses, _ = written(tmp_path, rows(1, steps - 1))
    assert len(losses) - 1 == lines
    assert losses[-1][0] == str(steps)


def test_half_a_line_of_a_killed_training_is_left_out(tmp_path: Path) -> None:
    Diary(tmp_path, pictures=False).metrics(rows(2, 2))
    journal = tmp_path / "metrics.jsonl"
    with journal.open("a", encoding="utf-8") as file:
        file.write('{"step": 5, "time": 0, "values": {"adversarial/gen')
    write_curves(journal, tmp_path / "curves")
    assert len(read(tmp_path / "curves" / "losses.csv")) == 5


def test_the_folder_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / "curves").mkdir()
    (tmp_path / "curves" / "old.csv").touch()
    written(tmp_path, rows(1, 1))
    assert sorted(path.name for path in (tmp_path / "curves").iterdir()) == ["losses.csv", "validation.csv"]


def test_a_journal_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"nowhere\.jsonl cannot be read: No such file"):
        write_curves(tmp_path / "nowhere.jsonl", tmp_path / "curves")
    Diary(tmp_path, pictures=False).metrics(rows(2, 2)[:2])
    with pytest.raises(StageError, match=r"metrics\.jsonl holds no validation"):
        write_curves(tmp_path / "metrics.jsonl", tmp_path / "curves")
    assert not (tmp_path / "curves").exists()


PLOTS = f"""
plots:
  - losses:
      x: step
      y:
        curves/losses.csv: [discriminator/discriminator, adversarial/generator, adversarial/l1]
  - accuracy:
      template: simple
      x: epoch
      y:
        curves/validation.csv:
          - discriminator/{ACCURACY}
          - adversarial/{ACCURACY}
"""


def test_dvc_plots_names_the_columns_and_draws_no_missing_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Vega draws what is finite as a number, and text without a character is 0."""
    written(tmp_path, rows(2, 3))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_NO_ANALYTICS", "true")
    Path("dvc.yaml").write_text(PLOTS, encoding="utf-8")
    Path(".dvc").mkdir()
    Path(".dvc/config").write_text("[core]\n    no_scm = True\n", encoding="utf-8")  # as `dvc init` does
    shown = subprocess.run(["dvc", "plots", "show", "--json"], check=True, capture_output=True, text=True)
    answer = json.loads(shown.stdout)
    assert "errors" not in answer
    assert drawn(answer["data"]["losses"], "step") == {
        "discriminator/discriminator": [(1, 1), (2, 2)],
        "adversarial/generator": [(3, 3), (4, 4), (5, 5)],
        "adversarial/l1": [(3, 30), (4, 40), (5, 50)],
    }
    assert drawn(answer["data"]["accuracy"], "epoch") == {
        f"discriminator/{ACCURACY}": [(1, 0.75)],
        f"adversarial/{ACCURACY}": [(2, 0.5)],
    }


def drawn(plot: list[dict[str, Any]], x: str) -> dict[str, list[tuple[float, float]]]:
    """The points of each curve of a plot that are numbers to Vega."""
    (shown,) = plot
    content = shown["content"]
    if isinstance(content, str):
        content = json.loads(content)
    found: dict[str, list[tuple[float, float]]] = {}
    for point in content["data"]["values"]:
        y = float(point["dvc_inferred_y_value"] or 0)
        if y == y:
            found.setdefault(point["field"], []).append((float(point[x]), y))
    return found
