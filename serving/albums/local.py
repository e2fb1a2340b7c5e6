"""Models of exact versions in this process: what the workers of `python -m serving.album` hold."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from numpy.typing import DTypeLike

from models.acceleration import Choice, accelerate
from models.memory import Footprint
from models.predictor import Predictor
from models.task import Task
from serving.job import Job
from serving.refusal import Refusal
from serving.registry import Registry, RegistryError, Version


@dataclass(frozen=True)
class Held:
    """A version that is ready to answer."""

    version: str  # such as restorer/3
    predictor: Predictor
    footprint: Footprint

    @classmethod
    def of(cls, version: str, predictor: Predictor) -> Self:
        """The version with what it takes of memory."""
        return cls(version, predictor, Footprint(predictor.config, predictor.batch))

    def check(self, height: int, width: int, dtype: DTypeLike, masked: bool, most_bytes: int) -> None:
        """Raises Refusal 413 where the photograph takes more memory."""
        needed = self.footprint.needed(height, width, dtype, masked)
        if needed > most_bytes:
            what = f"it is {width}x{height}: {self.version} needs {needed:,} bytes of memory for it"
            raise Refusal(413, "too_much_memory", f"{what}; the limit is {most_bytes:,}")


class LocalModels:
    """Models by task. A call blocks: whoever has others to serve asks from a thread of its own."""

    def __init__(self, held: Mapping[Task, Held], most_bytes: int) -> None:
        self._held = held
        self._most_bytes = most_bytes

    @classmethod
    def fetched(
        cls, versions: Mapping[Task, Version], registry: Registry, device: str, engine: Choice, most_bytes: int
    ) -> Self:
        """The versions' bundles, their sha256 verified, loaded; raises RegistryError or BundleError."""
        held = {}
        for task, version in versions.items():
            predictor = Predictor.from_bundle(registry.fetch(version), device)
            if predictor.config.task is not task:
                raise RegistryError(f"{version}'s bundle does {predictor.config.task}; it must {task}")
            if engine != "eager":
                predictor, _ = accelerate(predictor, engine)
            held[task] = Held.of(str(version), predictor)
        return cls(held, most_bytes)

    async def run(self, tasks: Sequence[Task], job: Job, versions: Mapping[Task, str]) -> Job:
        """The job after the tasks in order.

        Refusal 404 where other versions are asked for than there are, 413 where the photograph takes too much memory.
        """
        pixels, made_by = job.pixels, dict(job.made_by)
        for task in tasks:
            held, mask = self._held[task], job.mask if task is Task.RESTORE else None
            if versions.get(task, held.version) != held.version:
                raise Refusal(404, "no_version", f"{versions[task]} is asked for; here is {held.version}")
            height, width = pixels.shape[:2]
            held.check(height, width, pixels.dtype, mask is not None, self._most_bytes)
            (pixels,) = held.predictor.predict([pixels], [mask])
            made_by[task] = held.version
        return Job(pixels, job.mask, made_by=made_by)
