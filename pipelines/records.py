"""What an evaluation found of a version: read where it is known, examined anew where it is not."""

import json
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from models.bundle import BundleError, digest
from models.predictor import Predictor
from pipelines.evaluate import MINE, answer
from pipelines.examination import Examined, Judged, distances, examine, open_eyes
from pipelines.freeze import FrozenSet
from pipelines.gate import Measured
from pipelines.params import Evaluate
from pipelines.reports import numbers, read_table
from pipelines.stage import StageError
from pipelines.versions import BUNDLE_TAG, Registry, Version


@dataclass(frozen=True)
class Identity:
    """What numbers are of: they compare where the last two are the same."""

    bundle_sha256: str
    frozen_sha256: str
    protocol: str


def read_evaluation(evaluation: Path, identity: Identity, recipe: str) -> tuple[Examined, Judged]:
    """What the evaluate stage left in a folder; StageError where it is of something else."""
    path, again = evaluation / "report.json", f"run `python -m pipelines.evaluate {recipe}`"
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        rows = [numbers(line) for line in read_table(evaluation / "photographs.csv")]
        found = Identity(report["bundle_sha256"], report["frozen_sha256"], report["protocol"])
        examined, judged = Examined(report["metrics"], rows), Judged(**report["judged_by"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StageError(f"{path} cannot be read ({error!r}); {again}") from error
    for name, said in (("bundle_sha256", "bundle"), ("frozen_sha256", "frozen set"), ("protocol", "protocol")):
        old, new = getattr(found, name), getattr(identity, name)
        if old != new:
            raise StageError(f"{path} is of another {said} ({old[:12]}, now {new[:12]}); {again}")
    return examined, judged


def known(evaluations: Path, champion: Version, identity: Identity) -> Examined | None:
    """What the folder of its recipe's evaluation says of the champion; None where that is of something else by now."""
    recipe = champion.tags.get("autochrome.recipe", "")
    try:
        return read_evaluation(evaluations / recipe, identity, recipe)[0]
    except StageError:
        return None


def examined_anew(registry: Registry, champion: Version, frozen: FrozenSet, measuring: Evaluate) -> Examined:
    """The champion's own bundle on this frozen set; StageError where it cannot be had or is not what its tag says."""
    name = f"champion {registry.model}/{champion.number}"
    with TemporaryDirectory() as scratch:
        try:
            bundle = registry.download(champion, Path(scratch))
            found, expected = digest(bundle), champion.tags.get(BUNDLE_TAG)
            if found != expected:
                raise StageError(f"{name} cannot be examined: its bundle has sha256 {found}, its tag says {expected}")
            predictor = Predictor.from_bundle(bundle, batch=measuring.batch)
        except (BundleError, OSError) as error:
            raise StageError(f"{name} cannot be examined: {error}") from error
        pairs = list(frozen)
        answers = answer(predictor, pairs, measuring.batch)
        return examine(predictor.config.task, pairs, {MINE: answers}, open_eyes(measuring), measuring.batch).sets[MINE]


def as_measured(name: str, examined: Examined, judged: Judged) -> Measured:
    """As the gate takes it."""
    frechet = None if judged.frechet is None else examined.metrics.get(judged.frechet)
    return Measured(name, distances(examined, judged), frechet)
