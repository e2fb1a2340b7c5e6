"""What the service counts and measures, and the page that Prometheus reads.

Every process records for itself; Ray's agent on each node gathers what the node's processes recorded, every ten seconds
(`RAY_metrics_report_interval_ms`), and puts `ray_` before the name. `page` gathers the agents.
"""

import asyncio
import re
from collections.abc import Iterable, Sequence
from typing import Literal

import httpx
import ray
from ray.util.metrics import Counter, Gauge, Histogram

Stage = Literal["decode", "queue", "detect", "restore", "colorize", "encode", "total"]

PREFIX = "ray_"  # what Ray's agents put before every name
SILENT = "ray_autochrome_silent_nodes"  # made by `page`
MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 600.0]
_MOST_PSNR = 100.0  # dB; equal pictures have an infinite one, which would spoil the histogram's sum
_PASSED_ON = re.compile(r"(?:# (?:HELP|TYPE) )?ray_(?:autochrome|serve)_")
_AGENT_SECONDS = 5.0

_stage = Histogram("autochrome_stage_seconds", "Seconds that a stage of a request took", _SECONDS, ("stage",))
_batch = Histogram("autochrome_batch_photographs", "Photographs in a batch", [1, 2, 4, 8, 16, 32, 64], ("task",))
_answers = Counter("autochrome_answers", "Pictures answered, by each version that made them", ("version",))
_refusals = Counter("autochrome_refusals", "Requests refused", ("code", "status"))
_requests = Counter("autochrome_requests", "Requests answered", ("route", "status"))
_queue = Gauge("autochrome_queue_waiting", "Photographs that wait for a batch, of this replica", ("task",))
_swaps = Counter("autochrome_swaps", "Versions that a replica tried to serve", ("model", "version", "outcome"))
_shadow_psnr = Histogram(
    "autochrome_shadow_psnr",
    "dB between the champion's and the challenger's picture",
    [10, 20, 25, 30, 35, 40, 50],
    ("task",),
)
_shadow_colorfulness = Histogram(
    "autochrome_shadow_colorfulness_difference",
    "How much more or less colourful the challenger's picture is",
    [0.5, 1, 2, 5, 10, 20, 40],
    ("task", "challenger"),
)
_shadow_seconds = Histogram(
    "autochrome_shadow_seconds", "Seconds that each took on the same photograph", _SECONDS, ("task", "alias")
)

METRICS = (
    *(_stage, _batch, _answers, _refusals, _requests, _queue, _swaps),
    *(_shadow_psnr, _shadow_colorfulness, _shadow_seconds),
)


def observe_stage(stage: Stage, seconds: float) -> None:
    """A stage of one request took `seconds`; `total` is from the first byte read to the answer."""
    _stage.observe(seconds, {"stage": stage})


def observe_batch(task: str, size: int) -> None:
    """A model replica answered `size` photographs at once."""
    _batch.observe(size, {"task": task})


def observe_answer(version: str) -> None:
    """A picture was answered that `version` (such as restorer/3) had a part in."""
    _answers.inc(1, {"version": version})


def observe_refusal(code: str, status: int) -> None:
    """A request was refused; `code` is the error body's, so there are few."""
    _refusals.inc(1, {"code": code, "status": str(status)})


def observe_request(route: str, status: int) -> None:
    """A request was answered; `route` is the route's template, never the path that the client sent."""
    _requests.inc(1, {"route": route, "status": str(status)})


def observe_shadow(task: str, psnr: float, colorfulness: float, seconds: float, champion_seconds: float) -> None:
    """The challenger's copy of a request beside the champion's.

    `psnr` in dB between the two pictures (inf where they are equal), `colorfulness` the challenger's minus the
    champion's (Hasler and Süsstrunk 2003), `seconds` what the challenger took.
    """
    _shadow_psnr.observe(min(psnr, _MOST_PSNR), {"task": task})
    # A histogram's sum must not fall, so the sign is a tag.
    sign = "less" if colorfulness < 0 else "more"
    _shadow_colorfulness.observe(abs(colorfulness), {"task": task, "challenger": sign})
    _shadow_seconds.observe(seconds, {"task": task, "alias": "challenger"})
    _shadow_seconds.observe(champion_seconds, {"task": task, "alias": "champion"})


def set_queue(task: str, waiting: int) -> None:
    """Photographs that wait in this replica for a batch."""
    _queue.set(waiting, {"task": task})


def observe_swap(model: str, version: str, outcome: Literal["served", "failed"]) -> None:
    """A replica loaded `version` (such as restorer/3) of `model`, or failed to."""
    _swaps.inc(1, {"model": model, "version": version, "outcome": outcome})


async def page() -> str:
    """What all nodes' agents say of this service and of Ray Serve, in Prometheus' text format; "" without Ray.

    A node whose agent does not answer is left out and counted in `ray_autochrome_silent_nodes`. Never raises.
    """
    if not ray.is_initialized():
        return ""
    return await gathered(await asyncio.to_thread(_agents))


async def gathered(agents: Sequence[httpx.URL]) -> str:
    """The agents' pages as one; see `page`."""
    async with httpx.AsyncClient(timeout=_AGENT_SECONDS, trust_env=False) as client:
        answers = await asyncio.gather(*(_read(client, agent) for agent in agents))
    heard = [text for text in answers if text is not None]
    return merged([*heard, _silence(len(answers) - len(heard))])


def merged(pages: Iterable[str]) -> str:
    """Prometheus pages as one: a metric's lines stand together under one HELP and TYPE, as its format demands."""
    heads: dict[str, list[str]] = {}
    samples: dict[str, list[str]] = {}
    for text in pages:
        family = ""
        for line in filter(_PASSED_ON.match, text.splitlines()):
            if line.startswith("#"):
                family = line.split(" ", 3)[2]
                head = heads.setdefault(family, [])
                if line not in head and len(head) < 2:
                    head.append(line)
            else:
                samples.setdefault(family, []).append(line)
    lines = [line for family, found in samples.items() for line in (*heads[family], *found)]
    return "".join(f"{line}\n" for line in lines)


def _agents() -> Sequence[httpx.URL]:
    return [
        httpx.URL(scheme="http", host=node["NodeManagerAddress"], port=node["MetricsExportPort"], path="/metrics")
        for node in ray.nodes()  # type: ignore[no-untyped-call]
        if node["Alive"]
    ]


async def _read(client: httpx.AsyncClient, agent: httpx.URL) -> str | None:
    try:
        response = await client.get(agent)
        return response.raise_for_status().text
    except httpx.HTTPError:
        return None


def _silence(nodes: int) -> str:
    head = f"# HELP {SILENT} Nodes whose metrics agent did not answer\n# TYPE {SILENT} gauge\n"
    return f"{head}{SILENT} {nodes}\n"
