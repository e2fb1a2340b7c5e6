"""What a task is examined on: photographs of the test split with their damage drawn once and kept.

`python -m pipelines.freeze restore|colorize|translate` writes `build/frozen/<task>/pairs.arrow` and `report.json`;
detectors are examined on what restorers are, for the damage's mask is kept too. Which
photographs are chosen, and how each is damaged, hangs on their own content and the seed alone: photographs that come
to the set later change neither the damage of those already chosen nor, where they are not chosen, anything at all.
"""

import argparse
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from models.color import lab_to_rgb, rgb_to_lab
from models.image import to_photo, to_tensor
from models.task import Task
from pipelines import tracking
from pipelines.params import Damage, Freeze, damage_params, freeze_params
from pipelines.photos import Photographs, data_hashes
from pipelines.stage import StageError, fresh_folder, stage

PREPARED = Path("build/prepared")
FROZEN = Path("build/frozen")
FROZEN_TASKS = (Task.RESTORE, Task.COLORIZE, Task.TRANSLATE)

_SCHEMA = pa.schema(
    [
        ("index", pa.int32()),
        ("clean", pa.binary()),
        ("input", pa.binary()),
        ("mask", pa.binary()),
        ("labels", pa.list_(pa.string())),
        ("source", pa.string()),
        ("sha256", pa.string()),
    ]
)


@dataclass(frozen=True)
class Pair:
    """One question of the examination and its answer."""

    clean: NDArray[np.uint8]  # (H, W, 3) sRGB: the truth
    input: NDArray[np.uint8]  # (H, W, 3) sRGB: the damaged photograph, the grey one, or the one to be translated
    mask: NDArray[np.bool_]  # (H, W) True where damage destroyed the pixel; nowhere where there is no damage
    source: str  # the raw photograph's path inside data/
    labels: list[str]  # its classes, such as ImageNet's wnid


@dataclass(frozen=True)
class FrozenSet:
    """The pairs of one task, still encoded. `sha256` is of the file: two examinations with the same one compare."""

    table: Any  # pa.Table of _SCHEMA
    sha256: str

    @classmethod
    def open(cls, folder: Path) -> "FrozenSet":
        """The set that this stage left in `folder`; StageError where it cannot be read."""
        path = folder / "pairs.arrow"
        try:
            content = path.read_bytes()
            table = pa.ipc.open_file(content).read_all()
        except (OSError, pa.ArrowInvalid) as error:
            raise StageError(
                f"{path} cannot be read ({error}); run `python -m pipelines.freeze {folder.name}`"
            ) from error
        return cls(table, hashlib.sha256(content).hexdigest())

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def __iter__(self) -> Iterator[Pair]:
        for batch in self.table.to_batches(max_chunksize=1):
            [values] = batch.to_pylist()
            clean, photo = _decode(values["clean"]), _decode(values["input"])
            mask = _decode(values["mask"])[:, :, 0] > 0
            yield Pair(clean, photo, mask, values["source"], values["labels"])


def folder(task: Task) -> Path:
    """Where the examination of a task is kept."""
    return FROZEN / (Task.RESTORE if task is Task.DETECT else task)


def freeze(task: Task, params: Freeze, damage: Damage | None, prepared: Path, target: Path) -> dict[str, Any]:
    """Chooses, damages or makes grey, writes the folder `target` and returns its report.

    StageError where the test split of `params.data` is empty, or where it is pairs and the task needs none or the
    other way round.
    """
    sets = [prepared / name for name in params.data]
    photographs = Photographs.open(sets, "test")
    if photographs.paired != (task is Task.TRANSLATE):
        raise StageError(
            f"freeze.{task}.data is {', '.join(params.data)}; it must be {'' if task is Task.TRANSLATE else 'no '}pairs"
        )
    chosen = _choice(photographs.table["sha256"].to_pylist(), params.photographs, params.seed)
    rows = [_row(number, photographs, index, damage, params.seed) for number, index in enumerate(chosen)]
    with fresh_folder(target) as fresh:
        path = fresh / "pairs.arrow"
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, _SCHEMA) as writer:
            writer.write_table(pa.Table.from_pylist(rows, schema=_SCHEMA))
        report = {
            "task": str(task),
            "photographs": len(rows),
            "asked": params.photographs,
            "size": photographs.size,
            "seed": params.seed,
            "data": data_hashes(sets),
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        }
        (fresh / "report.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return report


def _choice(hashes: Sequence[str], photographs: int, seed: int) -> list[int]:
    """Rows of at most `photographs` different photographs, in an order drawn by content and seed."""
    rows = {content: row for row, content in reversed(list(enumerate(hashes)))}
    drawn = sorted(rows, key=lambda content: hashlib.sha256(f"{seed} {content}".encode()).digest())
    return [rows[content] for content in drawn[:photographs]]


def _row(number: int, photographs: Photographs, index: int, damage: Damage | None, seed: int) -> dict[str, Any]:
    content = str(photographs.table["sha256"][index].as_py())
    clean, photo, mask = _question(photographs, index, content, damage, seed)
    return {
        "index": number,
        "clean": encode(clean),
        "input": encode(photo),
        "mask": encode(np.where(mask, 255, 0).astype(np.uint8)),
        "labels": photographs.table["labels"][index].as_py(),
        "source": photographs.source(index),
        "sha256": content,
    }


def _question(
    photographs: Photographs, index: int, content: str, params: Damage | None, seed: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.bool_]]:
    """The truth, what is asked about it, and which pixels were destroyed."""
    photo = photographs.photo(index)
    if params is None:
        given = photographs.given(index) if photographs.paired else _grey(photo)
        return photo, given, np.zeros(photo.shape[:2], np.bool_)
    from pipelines.damage import pair  # albumentations takes a second that colorizing need not wait for

    return pair(photo, params, seed, 0, int(content[:8], 16))


def _grey(photo: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The photograph's L alone: what a colorizer is given, as a picture."""
    lab = rgb_to_lab(to_tensor(photo)[None])
    lab[:, 1:] = 0
    grey = to_photo(lab_to_rgb(lab)[0], np.uint8)
    return np.repeat(grey[:, :, 1:2], 3, axis=2)  # equal but for rounding: a grey photograph has no colour at all


def encode(picture: NDArray[np.uint8]) -> bytes:
    """PNG of an RGB (H, W, 3) or grey (H, W) picture; StageError where OpenCV refuses it."""
    ordered = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR) if picture.ndim == 3 else picture
    done, encoded = cv2.imencode(".png", ordered)
    if not done:
        raise StageError(f"a picture of {picture.shape[1]} x {picture.shape[0]} pixels cannot be encoded as PNG")
    return encoded.tobytes()


def _decode(encoded: bytes) -> NDArray[np.uint8]:
    picture = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR_RGB)
    if picture is None:
        raise StageError("a frozen picture cannot be decoded; run the freeze stage again")
    return np.asarray(picture, np.uint8)


def main() -> None:
    """The stage `freeze@<task>`."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.freeze", description="Freezes a task's examination.")
    parser.add_argument("task", choices=[str(task) for task in FROZEN_TASKS])
    task = Task(parser.parse_args().task)
    with stage(f"freeze@{task}"), tracking.stage_run(f"freeze@{task}") as run_id:
        damage = damage_params() if task is Task.RESTORE else None
        report = freeze(task, freeze_params(task), damage, PREPARED, folder(task))
        tracking.log_report(run_id, report)
        few = report["photographs"] < report["asked"]
        said = f", all that the test split has; freeze.{task}.photographs asks for {report['asked']}" if few else ""
        print(f"freeze@{task}: {report['photographs']} photographs of {report['size']} px{said}")


if __name__ == "__main__":
    main()
