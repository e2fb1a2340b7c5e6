"""Models of exact versions in this process: what the workers of `python -m serving.album` hold."""

from collections.abc import Iterable, Mapping, Sequence

from models.task import Task
from serving.job import Job
from serving.loading import Loaded
from serving.predicting import Memory, predicted
from serving.refusal import Refusal


class LocalModels:
    """One version of each task's model. A call blocks: whoever has others to serve asks from a thread of its own."""

    def __init__(self, loaded: Iterable[Loaded], most_bytes: int) -> None:
        self._loaded = {model.task: model for model in loaded}
        self._memory = Memory(most_bytes, small_pixels=0)

    async def run(self, tasks: Sequence[Task], job: Job, versions: Mapping[Task, str]) -> Job:
        """The job after the tasks in order; raises what a model raises for this photograph.

        Refusal 404 where other versions are asked for than there are, 413 where the photograph takes too much memory.
        """
        for task in tasks:
            loaded = self._loaded[task]
            if versions.get(task, str(loaded.version)) != str(loaded.version):
                raise Refusal(404, "no_version", f"{versions[task]} is asked for; here is {loaded.version}")
            height, width = job.pixels.shape[:2]
            self._memory.check(loaded, height, width, job.pixels.dtype.name, job.mask is not None)
            (answer,) = predicted(loaded, [job])
            if isinstance(answer, Exception):
                raise answer
            job = answer
        return job
