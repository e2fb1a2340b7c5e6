"""From a registered version to a model that can answer: fetched, verified, made fast, and tried once."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn

from models.acceleration import Choice, accelerate
from models.memory import Footprint
from models.predictor import Predictor
from models.task import Task
from serving.registry import Registry, RegistryError, Version


class AbandonedError(Exception):
    """Nobody waits for the answer any more."""


class Interruptible(nn.Module):
    """A network that asks before each of its batches whether anybody waits: a scan has hours of them."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.wanted: Callable[[], bool] = lambda: True
        for name in ("hinted", "masked", "multiple"):  # what a Predictor looks at
            if hasattr(network, name):
                setattr(self, name, getattr(network, name))

    def forward(self, *tensors: Any) -> Any:
        """The network's answer; raises AbandonedError."""
        if not self.wanted():
            raise AbandonedError("nobody waits for this photograph any more")
        return self.network(*tensors)


@dataclass(frozen=True)
class Loaded:
    """A version that is ready to answer."""

    version: Version
    predictor: Predictor
    network: Interruptible  # the predictor's
    footprint: Footprint
    engine: str  # how it is computed: a Way of models.acceleration
    settled: bool  # False: loading it once more, for minutes, may find a faster way

    @property
    def task(self) -> Task:
        """What it does."""
        return self.predictor.config.task

    @property
    def hinted(self) -> bool:
        """Whether it takes colour hints."""
        return bool(getattr(self.network, "hinted", False))


class Loader:
    """Loads versions of one task's model; `engine` is how they are computed, auto the fastest way on this machine."""

    def __init__(self, task: Task, registry: Registry, engine: Choice, device: str = "cpu") -> None:
        self.task = task
        self.registry = registry
        self._engine = engine
        self._device = device

    def load(self, version: Version) -> Loaded:
        """The version, having answered once; raises what loading raises, RegistryError where it does another task."""
        return self._loaded(version, self._engine)

    def load_quickly(self, version: Version) -> Loaded:
        """The same without compiling, which takes minutes: for a version that somebody waits for."""
        return self._loaded(version, "bfloat16" if self._engine in ("auto", "compile") else self._engine)

    def _loaded(self, version: Version, engine: Choice) -> Loaded:
        predictor = Predictor.from_bundle(self.registry.fetch(version), self._device)
        config = predictor.config
        if config.task is not self.task:
            raise RegistryError(f"its bundle does {config.task}; it must {self.task}")
        way = "eager"
        if engine != "eager":
            predictor, report = accelerate(predictor, engine)
            way = report.chosen
        network = Interruptible(predictor.network)
        predictor.network = network
        predictor.predict([np.full((config.size, config.size, 3), 128, np.uint8)], [None])
        footprint = Footprint(config, predictor.batch)
        return Loaded(version, predictor, network, footprint, way, settled=engine == self._engine)
