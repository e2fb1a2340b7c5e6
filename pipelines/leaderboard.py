"""Every registered version of a task beside the others and the baselines: `python -m pipelines.leaderboard <task>`.

Writes `build/leaderboards/<task>/leaderboard.md` and `.html`, which MLflow keeps with the run of the stage and of the
`dvc repro`. Ranked by LPIPS, detectors by F1 (`pipelines/board.py`). The page needs nothing but itself.
"""

import argparse
import base64
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from string import Template

from models.task import Task
from pipelines import freeze, tracking
from pipelines.baselines import BASELINES
from pipelines.board import Basis, Board, Entry, survey
from pipelines.freeze import FrozenSet
from pipelines.rows import Column, markdown_table
from pipelines.stage import fresh_folder, stage

LEADERBOARDS = Path("build/leaderboards")

_PAGE = Path(__file__).with_suffix(".html")
_FIRST = ("rank", "version", "recipe", "aliases")
_LAST = ("verdict", "run", "registered (UTC)")


def markdown(board: Board) -> str:
    """The board without pictures."""
    headings = [*_FIRST, *(f"{one.name} {one.arrow}" for one in board.columns), *_LAST]
    lines = [_line(place, entry, board.columns) for place, entry in board.ranked]
    parts = [f"# {_title(board)}\n", "\n\n".join(_paragraphs(board)) + "\n", markdown_table(headings, lines)]
    if board.unranked:
        said = [[one.name, one.recipe, ", ".join(one.aliases), reason, one.when] for one, reason in board.unranked]
        parts += [
            "## Not ranked\n",
            markdown_table(["version", "recipe", "aliases", "reason", "registered (UTC)"], said),
        ]
    return "\n".join(parts)


def page(board: Board) -> str:
    """The board as a page of HTML that needs no other file."""
    first = "".join(_heading(name) for name in (*_FIRST, "photographs"))
    shown = "".join(_heading(f"{one.name} {one.arrow}") for one in board.columns)
    last = "".join(_heading(name) for name in _LAST)
    best = {one.name: min(places, default=0.0) for one, places in _places(board)}
    asked, jpeg = board.question
    return Template(_PAGE.read_text(encoding="utf-8")).substitute(
        title=escape(_title(board)),
        paragraphs="\n".join(f"<p>{escape(text)}</p>" for text in _paragraphs(board)),
        question=f"<figure>{_image(jpeg, asked)}<figcaption>asked: {escape(asked)}</figcaption></figure>",
        headings=first + shown + last,
        rows="\n".join(_row(place, entry, board.columns, best) for place, entry in board.ranked),
        unranked=_unranked(board),
    )


def _title(board: Board) -> str:
    return f"Leaderboard: {board.task.model}"


def _paragraphs(board: Board) -> list[str]:
    ranks = board.columns[0]
    said = f"Ranked by {ranks.name} ({ranks.arrow} is better) on {board.photographs} frozen photographs."
    beside = "Lines without a rank are baselines, which need no learning, and the truth itself."
    none = [] if any(place for place, _ in board.ranked) else [f"No version of {board.task.model} is ranked."]
    return [f"{said} {beside}", *none]


def _line(place: int | None, entry: Entry, shown: Sequence[Column]) -> list[str]:
    run = f"[{entry.run}]({entry.link})" if entry.link else ""
    numbers = [one.written(entry.metrics) for one in shown]
    rank = "-" if place is None else str(place)
    return [rank, entry.name, entry.recipe, ", ".join(entry.aliases), *numbers, entry.verdict, run, entry.when]


def _places(board: Board) -> Iterator[tuple[Column, list[float]]]:
    """Of each metric, what the versions sort by: baselines may not be the best, `true` would always be."""
    for one in board.columns:
        versions_of = [entry for place, entry in board.ranked if place is not None and one.name in entry.metrics]
        yield one, [one.place(entry.metrics) for entry in versions_of]


def _heading(text: str) -> str:
    return f"<th><button>{escape(text).replace('_', '_<wbr>')}</button></th>"


def _row(place: int | None, entry: Entry, shown: Sequence[Column], best: Mapping[str, float]) -> str:
    badges = "".join(f'<span class="alias {escape(one)}">{escape(one)}</span> ' for one in entry.aliases)
    # A sandboxed frame, such as MLflow's, opens no windows; there the run's name is something to copy.
    run = f'<a href="{escape(entry.link)}" target="_blank" rel="noopener">{escape(entry.run)}</a>' if entry.link else ""
    numbers = [_number(one, entry, best) for one in shown]
    cells = [
        _cell("-" if place is None else str(place), "" if place is None else str(place), "number"),
        _cell(escape(entry.name), entry.name),
        _cell(escape(entry.recipe), entry.recipe),
        _cell(badges, ", ".join(entry.aliases)),
        _cell(_image(entry.thumbnails, entry.name) if entry.thumbnails else "", ""),
        *numbers,
        _cell(escape(entry.verdict), entry.verdict, "verdict"),
        _cell(run, entry.run),
        _cell(entry.when, entry.when, "when"),
    ]
    return f'<tr class="{"baseline" if entry.baseline else "version"}">{"".join(cells)}</tr>'


def _number(one: Column, entry: Entry, best: Mapping[str, float]) -> str:
    if one.name not in entry.metrics:
        return _cell("-", "", "number")
    at_best = not entry.baseline and one.place(entry.metrics) == best[one.name]
    return _cell(one.written(entry.metrics), str(entry.metrics[one.name]), "number best" if at_best else "number")


def _cell(content: str, sort: str, kind: str = "") -> str:
    return f'<td data-sort="{escape(sort)}" class="{kind}">{content}</td>'


def _image(jpeg: bytes, name: str) -> str:
    return f'<img alt="{escape(name)}" src="data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}">'


def _unranked(board: Board) -> str:
    if not board.unranked:
        return ""
    items = [
        f"<li>{escape(f'{one.name} ({one.recipe}, {one.when})')}: {escape(reason)}</li>"
        for one, reason in board.unranked
    ]
    return f"<h2>Not ranked</h2>\n<ul>{''.join(items)}</ul>"


def main() -> None:
    """The stage `leaderboard@<task>`."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.leaderboard", description="Ranks registered versions.")
    parser.add_argument("task", choices=[str(task) for task in Task])
    task = Task(parser.parse_args().task)
    name = f"leaderboard@{task}"
    with stage(name), tracking.stage_run(name) as run_id:
        board = survey(task, FrozenSet.open(freeze.folder(task)), Basis.open(BASELINES / task))
        target = LEADERBOARDS / task
        with fresh_folder(target) as folder:
            (folder / "leaderboard.md").write_text(markdown(board), encoding="utf-8")
            (folder / "leaderboard.html").write_text(page(board), encoding="utf-8")
        for shown_by in filter(None, (run_id, tracking.parent_of(run_id))):
            tracking.log_files(shown_by, sorted(target.iterdir()), f"leaderboards/{task}")
        ranked = sum(place is not None for place, _ in board.ranked)
        print(f"{name}: {ranked} versions ranked, {len(board.unranked)} not")


if __name__ == "__main__":
    main()
