"""An examined bundle becomes a version of `restorer` or `colorizer`, and champion if it deserves it.

`python -m pipelines.register <recipe>` takes `build/bundles/<recipe>` and `build/evaluation/<recipe>` and writes
`build/registered/<recipe>.json`. A bundle makes one version however often it is registered, and a rerun finishes what
a killed process left half done: the version carries its tags from its first moment, its aliases follow.
"""

import argparse
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np

from models.bundle import BundleError, Config, digest
from models.catalogue import CATALOGUE
from models.predictor import Predictor
from models.task import Task
from pipelines import tracking, versions
from pipelines.evaluate import BUNDLES, EVALUATION, examine, flat, open_bundle, summary, write_json
from pipelines.freeze import FROZEN, FrozenSet, Pair, encode
from pipelines.params import Register, evaluate_params, register_params
from pipelines.stage import StageError, stage
from pipelines.versions import BUNDLE_TAG, Registry, Version

REGISTERED = Path("build/registered")
METRICS_TAG = "autochrome.metrics"
PROMOTED_TAG = "autochrome.promoted"  # once champion: made so again by hand alone, or a rerun would undo a rollback
EXAMPLE = 64  # pixels: the input example is for reading, not for judging


def register(
    recipe: str, params: Register, batch: int, bundle: Path, evaluation: Path, frozen_folder: Path
) -> dict[str, Any]:
    """Makes or finds the version, sets its aliases, and returns what there is to report.

    StageError where the bundle cannot be read or its evaluation is of another bundle or another frozen set.
    """
    config, frozen = open_bundle(recipe, bundle, batch).config, FrozenSet.open(frozen_folder)
    bundle_sha256 = digest(bundle)
    metrics = _metrics(evaluation, bundle_sha256, frozen, recipe)
    registry = Registry(config.task.model)
    measured = json.dumps({"frozen_sha256": frozen.sha256, **metrics})
    version = registry.find(bundle_sha256)
    if version is None:
        run_id = _run(config, metrics, evaluation)
        tags = _lineage(config, run_id) | {BUNDLE_TAG: bundle_sha256, METRICS_TAG: measured}
        version = registry.add(bundle, run_id, tags, _example(next(iter(frozen)), config.task))
    elif version.tags.get(METRICS_TAG) != measured:
        registry.tag(version, METRICS_TAG, measured)
    challenger = registry.under("challenger")
    if challenger is None or challenger.number < version.number:
        registry.point("challenger", version)
    verdict = promote(registry, version, metrics["lift"]["psnr"], frozen, params, batch)
    return {
        "model": registry.model,
        "version": version.number,
        "aliases": registry.aliases(version),
        "verdict": verdict,
        "run": config.run,
        "bundle_sha256": bundle_sha256,
        "metrics": metrics,
    }


def promote(registry: Registry, version: Version, lift: float, frozen: FrozenSet, params: Register, batch: int) -> str:
    """Makes `version` champion if it deserves it; the verdict and its numbers in a sentence."""
    champion, name = registry.under("champion"), f"{registry.model}/{version.number}"
    if champion is None:
        _crown(registry, version)
        return f"{name} is champion: there was none; its PSNR lift is {lift:+.3f} dB"
    if champion.number == version.number:
        _crown(registry, version)
        return f"{name} is champion already; its PSNR lift is {lift:+.3f} dB"
    if PROMOTED_TAG in version.tags:
        return f"{name} was champion before {registry.model}/{champion.number} and is brought back by hand only"
    try:
        best = _champions_lift(registry, champion, frozen, batch)
    except StageError as error:
        return f"{name} stays challenger: {error}; make it champion by hand"
    said = f"its PSNR lift of {lift:+.3f} dB against {best:+.3f} dB of champion {registry.model}/{champion.number}"
    if not (lift > best and lift - best >= params.margin):
        return f"{name} stays challenger: {said} is not enough (register.margin is {params.margin:g} dB)"
    if not params.promote:
        return f"{name} stays challenger: {said} is better, but register.promote is false"
    _crown(registry, version)
    return f"{name} is champion: {said}"


def _crown(registry: Registry, version: Version) -> None:
    # In this order a process killed in between leaves a champion that the rerun recognises.
    registry.point("champion", version)
    registry.tag(version, PROMOTED_TAG, "true")


def _champions_lift(registry: Registry, champion: Version, frozen: FrozenSet, batch: int) -> float:
    """On this frozen set: as its tag says, or examined anew where the tag is of another set."""
    measured = json.loads(champion.tags.get(METRICS_TAG, "{}"))
    if measured.get("frozen_sha256") == frozen.sha256:
        return float(measured["lift"]["psnr"])
    name = f"champion {registry.model}/{champion.number}"
    with TemporaryDirectory() as folder:
        try:
            bundle = registry.download(champion, Path(folder))
            found, expected = digest(bundle), champion.tags.get(BUNDLE_TAG)
            if found != expected:
                raise StageError(f"{name} cannot be examined: its bundle has sha256 {found}, its tag says {expected}")
            predictor = Predictor.from_bundle(bundle, batch=batch)
        except (BundleError, OSError) as error:
            raise StageError(f"{name} cannot be examined: {error}") from error
        return float(summary(examine(predictor, frozen, batch))["lift"]["psnr"])


def _metrics(evaluation: Path, bundle_sha256: str, frozen: FrozenSet, recipe: str) -> dict[str, Any]:
    path, again = evaluation / "report.json", f"run `python -m pipelines.evaluate {recipe}`"
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StageError(f"{path} cannot be read ({error}); {again}") from error
    for what, expected in (("bundle", bundle_sha256), ("frozen", frozen.sha256)):
        found = report[f"{what}_sha256"]
        if found != expected:
            raise StageError(f"{path} is of another {what} ({found[:12]}, now {expected[:12]}); {again}")
    return dict(report["metrics"])


def _run(config: Config, metrics: Mapping[str, Any], evaluation: Path) -> str:
    """The training's MLflow run; made here for a bundle that was trained where there is no MLflow."""
    run_id = tracking.find_run(config.run)
    if run_id is None or versions.run_tags(run_id).get("autochrome.stage") == "register":
        params = json.dumps(config.params, sort_keys=True)
        tags = {
            "autochrome.recipe": config.recipe,
            "autochrome.stage": "register",
            **tracking.checkout_tags(),
            "autochrome.data": json.dumps(config.data, sort_keys=True),
            "autochrome.params_hash": hashlib.sha256(params.encode()).hexdigest(),
        }
        files = sorted(evaluation.iterdir())
        run_id = tracking.log_evaluation(config.run, tags, dict(flat(metrics)), files)
        versions.complete_run(run_id, config.params)
    return run_id


def _lineage(config: Config, run_id: str) -> dict[str, str]:
    of_run = versions.run_tags(run_id)
    kept = ("autochrome.git_commit", "autochrome.dvc_data", "autochrome.data", "autochrome.params_hash")
    return {
        "autochrome.recipe": config.recipe,
        "autochrome.run": config.run,
        **{key: of_run[key] for key in kept if key in of_run},
    }


def _example(pair: Pair, task: Task) -> dict[str, bytes]:
    """A small question, encoded as callers send theirs."""
    small = cv2.resize(pair.input, (EXAMPLE, EXAMPLE), interpolation=cv2.INTER_AREA)
    example = {"photo": encode(np.asarray(small, np.uint8))}
    if task is Task.RESTORE:
        mask = cv2.resize(pair.mask.astype(np.uint8) * 255, (EXAMPLE, EXAMPLE), interpolation=cv2.INTER_NEAREST)
        example["mask"] = encode(np.asarray(mask, np.uint8))
    return example


def main() -> None:
    """The stage `register@<model>`: two recipes of one task are registered one after the other."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.register", description="Registers an examined bundle.")
    parser.add_argument("recipe", choices=sorted(CATALOGUE))
    recipe = parser.parse_args().recipe
    task = CATALOGUE[recipe].task
    with stage(f"register@{task.model}"):
        batch = evaluate_params().batch
        report = register(recipe, register_params(), batch, BUNDLES / recipe, EVALUATION / recipe, FROZEN / task)
        write_json(REGISTERED / f"{recipe}.json", report)
        print(f"register@{recipe}: {report['verdict']}")


if __name__ == "__main__":
    main()
