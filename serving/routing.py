"""Which versions answer a request: those that X-Model asks for, the canary's, or those of the followed alias."""

import asyncio
import logging
import random
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from models.task import Task
from serving.job import Models
from serving.refusal import Refusal

CHALLENGER = "challenger"

logger = logging.getLogger("ray.serve")

PATTERN = r"[a-z]+/[1-9][0-9]{0,9}|[A-Za-z][A-Za-z0-9_-]{0,63}"  # of an exact version, or an alias
_VERSION = re.compile(r"([a-z]+)/([1-9][0-9]{0,9})")
_ALIAS = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
_MOST_ALIASES = 64  # remembered: a client may make up as many as it likes


@dataclass(frozen=True)
class Trial:
    """How the challenger is tried beside the followed alias."""

    followed: str = "champion"
    canary_percent: float = 0.0  # of the requests that name no model are answered by the challenger
    shadow_percent: float = 0.0  # of them are worked on once more by the challenger, after the answer
    seconds: float = 10.0  # that an alias is remembered


class Routing:
    """Chooses versions; `draw` gives numbers of [0, 1)."""

    def __init__(self, models: Models, trial: Trial, draw: Callable[[], float] = random.random) -> None:
        self._models = models
        self._trial = trial
        self._draw = draw
        self._known: dict[tuple[Task, str], tuple[str | None, float]] = {}
        self._asking: asyncio.Task[None] | None = None

    async def asked(self, header: Sequence[str], tasks: Sequence[Task]) -> dict[Task, str]:
        """The exact versions that X-Model's values ask for; raises Refusal 404 or 422, which names what is wrong.

        An alias is meant for every model of the request that has it; the followed alias answers for the others.
        """
        versions, aliases = _parsed(header, tasks)
        if not aliases or aliases == [self._trial.followed]:
            return versions
        found = {task: await self._version(task, aliases[0]) for task in tasks if task not in versions}
        if not any(found.values()):
            names = " or ".join(task.model for task in found or tasks)
            raise Refusal(404, "no_version", f"X-Model is {aliases[0]}: no version of {names} has that alias")
        return versions | {task: version for task, version in found.items() if version}

    def canary(self, tasks: Sequence[Task]) -> dict[Task, str]:
        """The challengers where this request is one of the canary's, else none."""
        return self.challengers(tasks) if self._hit(self._trial.canary_percent) else {}

    def shadow(self, tasks: Sequence[Task]) -> dict[Task, str]:
        """The challengers where this request is one of those that are shadowed, else none."""
        return self.challengers(tasks) if self._hit(self._trial.shadow_percent) else {}

    def challengers(self, tasks: Sequence[Task]) -> dict[Task, str]:
        """The tasks' challengers as last heard: no request waits for the registry, it is asked in the background."""
        entries = {task: self._known.get((task, CHALLENGER), (None, 0.0)) for task in tasks}
        stale = [task for task, (_, until) in entries.items() if time.monotonic() >= until]
        if stale and (self._asking is None or self._asking.done()):
            self._asking = asyncio.create_task(self._ask(stale))
        return {task: version for task, (version, _) in entries.items() if version}

    def _hit(self, percent: float) -> bool:
        return percent > 0 and self._draw() * 100 < percent

    async def _ask(self, tasks: Sequence[Task]) -> None:
        for task in tasks:
            try:
                await self._version(task, CHALLENGER)
            except Refusal as error:
                logger.warning(f"whether {task.model} has a challenger is not known: {error.message}")

    async def _version(self, task: Task, alias: str) -> str | None:
        version, until = self._known.get((task, alias), (None, 0.0))
        if time.monotonic() < until:
            return version
        version = await self._models.find(task, alias)
        if len(self._known) >= _MOST_ALIASES:
            self._known.clear()
        self._known[task, alias] = (version, time.monotonic() + self._trial.seconds)
        return version


def _parsed(header: Sequence[str], tasks: Sequence[Task]) -> tuple[dict[Task, str], list[str]]:
    """Versions by task, and at most one alias."""
    versions: dict[Task, str] = {}
    aliases: list[str] = []
    for wish in (part.strip(" \t") for value in header for part in value.split(",")):
        if exact := _VERSION.fullmatch(wish):
            _add(versions, _of(exact[1], wish, tasks), wish)
        elif not _ALIAS.fullmatch(wish):
            raise _wrong(f"X-Model is {wish!r}; it must be an alias, such as challenger, or a version: colorizer/3")
        elif wish not in aliases:
            aliases.append(wish)
    if len(aliases) > 1:
        raise _wrong(f"X-Model has the aliases {' and '.join(aliases)}; it must have one")
    return versions, aliases


def _of(model: str, wish: str, tasks: Sequence[Task]) -> Task:
    for task in tasks:
        if task.model == model:
            return task
    names = ", ".join(task.model for task in tasks)
    raise _wrong(f"X-Model is {wish}; this request is answered by {names}")


def _add(versions: dict[Task, str], task: Task, wish: str) -> None:
    if versions.setdefault(task, wish) != wish:
        raise _wrong(f"X-Model has {versions[task]} and {wish}; it must have one version of {task.model}")


def _wrong(message: str) -> Refusal:
    return Refusal(422, "x_model", message)
