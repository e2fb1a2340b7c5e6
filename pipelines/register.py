"""An examined bundle becomes a version of its task's registered model, and champion if it deserves it.

`python -m pipelines.register <recipe>` takes `build/bundles/<recipe>`, `build/evaluation/<recipe>` and the task's
baselines and writes `build/registered/<task>/<recipe>.json` and `build/gates/<recipe>.json`, the verdict's numbers. A
bundle makes one version however often it is registered, and a rerun finishes what a killed process left half done: the
version carries its tags from its first moment, its aliases follow.
"""

import argparse
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np

from models.bundle import Config, digest
from models.catalogue import CATALOGUE
from models.task import Task
from pipelines import tracking, versions
from pipelines.baselines import BASELINES, CLASSICAL, Baselines
from pipelines.board import Basis
from pipelines.card import Subject, publish, write_card
from pipelines.evaluate import BUNDLES, EVALUATION, flat, open_bundle
from pipelines.examination import Judged, protocol
from pipelines.freeze import PREPARED, FrozenSet, Pair, encode, folder
from pipelines.gate import Measured, Rival, Verdict, judge
from pipelines.params import Evaluate, Register, evaluate_params, register_params
from pipelines.records import Identity, as_measured, examined_anew, known, read_evaluation
from pipelines.reports import write_json
from pipelines.stage import StageError, stage
from pipelines.versions import BUNDLE_TAG, GATE_TAG, METRICS_TAG, Registry, Version

REGISTERED = Path("build/registered")
GATES = Path("build/gates")
DATA = Path("data")  # where the licences of the photographs stand
PROMOTED_TAG = "autochrome.promoted"  # once champion: made so again by hand alone, or a rerun would undo a rollback
EXAMPLE = 64  # pixels: the input example is for reading, not for judging


@dataclass(frozen=True)
class Folders:
    """What a registration is made from."""

    bundle: Path
    evaluation: Path
    baselines: Path  # of the recipe's task
    frozen: Path


@dataclass(frozen=True)
class Decision:
    """Whether the version is champion now, and what there is to say of it."""

    sentence: str
    champion: bool
    verdict: Verdict
    already: bool = False  # it was champion before


def register(recipe: str, params: Register, measuring: Evaluate, folders: Folders) -> dict[str, Any]:
    """Makes or finds the version, sets its aliases, and returns what there is to report; `gate` is the verdict's own.

    StageError where the bundle cannot be read, or its evaluation or the baselines are of another bundle, another frozen
    set or measured otherwise.
    """
    config = open_bundle(recipe, folders.bundle, measuring.batch).config
    frozen = FrozenSet.open(folders.frozen)
    identity = Identity(digest(folders.bundle), frozen.sha256, protocol(measuring))
    examined, judged = read_evaluation(folders.evaluation, identity, recipe)
    baselines = Baselines.open(config.task, folders.baselines, identity.frozen_sha256, identity.protocol)
    registry = Registry(config.task.model)
    version = _version(registry, config, identity, examined.metrics, folders, frozen)
    challenger = registry.under("challenger")
    if challenger is None or challenger.number < version.number:
        registry.point("challenger", version)

    def measured(champion: Version) -> Measured:
        its = Identity(champion.tags.get(BUNDLE_TAG, ""), identity.frozen_sha256, identity.protocol)
        found = known(folders.evaluation.parent, champion, its) or examined_anew(registry, champion, frozen, measuring)
        return as_measured(f"champion {registry.model}/{champion.number}", found, judged)

    candidate = as_measured(f"{registry.model}/{version.number}", examined, judged)
    decision = decide(registry, version, candidate, _rivals(recipe, baselines, judged), measured, params)
    gate = _gate(registry, version, decision, {"recipe": recipe, **asdict(identity), "judged_by": asdict(judged)})
    if decision.already:
        gate = _that_crowned(version, identity) or gate
    _publish(registry, version, gate)
    if decision.champion:
        _crown(registry, version)
    subject = Subject(candidate.name, config, identity.bundle_sha256, examined.metrics, decision.sentence)
    _publish_card(registry, version, subject, folders)
    return {
        "model": registry.model,
        "version": version.number,
        "aliases": registry.aliases(version),
        "verdict": decision.sentence,
        "run": config.run,
        "bundle_sha256": identity.bundle_sha256,
        "metrics": examined.metrics,
        "gate": gate,
    }


def decide(
    registry: Registry,
    version: Version,
    candidate: Measured,
    rivals: list[Rival],
    measured: Callable[[Version], Measured],
    params: Register,
) -> Decision:
    """Whether `version`, which is `candidate`, is to be champion; `measured` gives what the present one has."""
    champion, name = registry.under("champion"), candidate.name
    alone = judge(candidate, rivals, params)
    if champion is None:
        return _first(name, alone, params)
    if champion.number == version.number:
        return Decision(f"{name} is champion already; it is {alone.sentence()}", True, alone, already=True)
    if PROMOTED_TAG in version.tags:
        said = f"{name} was champion before {registry.model}/{champion.number} and is brought back by hand only"
        return Decision(said, False, alone)
    try:
        verdict = judge(candidate, [*rivals, Rival("champion", measured(champion))], params)
    except StageError as error:
        return Decision(f"{name} stays challenger: {error}; make it champion by hand", False, alone)
    if not verdict.passed:
        return Decision(f"{name} stays challenger: it is {verdict.sentence()}", False, verdict)
    if not params.promote:
        said = f"{name} stays challenger: register.promote is false, though it is {verdict.sentence()}"
        return Decision(said, False, verdict)
    return Decision(f"{name} is champion: it is {verdict.sentence()}", True, verdict)


def _first(name: str, verdict: Verdict, params: Register) -> Decision:
    """Where there is no champion, something has to be served: `register.promote` has no say."""
    said = f"it is {verdict.sentence()}"
    if verdict.passed:
        return Decision(f"{name} is champion: there was none, and {said}", True, verdict)
    if params.unproven:
        return Decision(f"{name} is champion unproven: there was none; {said}", True, verdict)
    return Decision(
        f"{name} stays challenger, register.unproven is false, and there is no champion: {said}", False, verdict
    )


def _rivals(recipe: str, baselines: Baselines, judged: Judged) -> list[Rival]:
    """Doing nothing, and for recipes that learn what does not."""
    rows = {name: as_measured(name, examined, judged) for name, examined in baselines.rows.items()}
    classical = [name for name in rows if name in CLASSICAL and CATALOGUE[recipe].learns]
    return [
        Rival("nothing", rows[baselines.nothing]),
        *(Rival("classical", rows[name]) for name in classical),
    ]


def _gate(registry: Registry, version: Version, decision: Decision, of: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "model": registry.model,
        "version": version.number,
        **of,
        "verdict": decision.sentence,
        "champion": decision.champion,
        **decision.verdict.numbers(),
    }


def _that_crowned(version: Version, identity: Identity) -> dict[str, Any] | None:
    """The verdict that made it champion, where its numbers still hold: it names the champion that was before."""
    gate: dict[str, Any] = json.loads(version.tags.get(GATE_TAG, "{}"))
    holds = gate.get("champion") and asdict(identity).items() <= gate.items()
    return gate if holds else None


def _publish(registry: Registry, version: Version, gate: Mapping[str, Any]) -> None:
    """The verdict on the version, and as evaluation/gate.json of its run."""
    registry.tag(version, GATE_TAG, json.dumps(gate, ensure_ascii=False))
    with TemporaryDirectory() as scratch:
        path = Path(scratch) / "gate.json"
        write_json(path, gate)
        tracking.log_files(version.run_id, [path], "evaluation")


def _publish_card(registry: Registry, version: Version, subject: Subject, folders: Folders) -> None:
    with TemporaryDirectory() as scratch:
        card = Path(scratch) / "card"
        write_card(card, subject, Basis.open(folders.baselines), folders.evaluation, DATA, PREPARED)
        publish(registry, version, card)


def _crown(registry: Registry, version: Version) -> None:
    # In this order a process killed in between leaves a champion that the rerun recognises.
    registry.point("champion", version)
    registry.tag(version, PROMOTED_TAG, "true")


def _version(
    registry: Registry,
    config: Config,
    identity: Identity,
    metrics: Mapping[str, Any],
    folders: Folders,
    frozen: FrozenSet,
) -> Version:
    """The bundle's version, found or made, with the present numbers as its tag."""
    measured = json.dumps({"frozen_sha256": identity.frozen_sha256, "protocol": identity.protocol, **metrics})
    version = registry.find(identity.bundle_sha256)
    if version is None:
        run_id = _run(config, metrics, folders.evaluation)
        tags = _lineage(config, run_id) | {BUNDLE_TAG: identity.bundle_sha256, METRICS_TAG: measured}
        return registry.add(folders.bundle, run_id, tags, _example(next(iter(frozen)), config.task))
    if version.tags.get(METRICS_TAG) != measured:
        registry.tag(version, METRICS_TAG, measured)
    return version


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
    with stage(f"register@{task.model}"), tracking.stage_run(f"register@{recipe}") as run_id:
        folders = Folders(BUNDLES / recipe, EVALUATION / recipe, BASELINES / task, folder(task))
        report = register(recipe, register_params(), evaluate_params(), folders)
        tracking.log_report(run_id, report)
        write_json(GATES / f"{recipe}.json", report.pop("gate"))
        write_json(REGISTERED / task / f"{recipe}.json", report)
        print(f"register@{recipe}: {report['verdict']}")


if __name__ == "__main__":
    main()
