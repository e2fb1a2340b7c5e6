"""Keeps the model that a registry alias names in memory, and the old one where the new one cannot be loaded."""

import logging
import threading
import time

from serving.loading import Loaded, Loader
from serving.metrics import observe_swap
from serving.registry import AbsentRegistryError, Version
from serving.state import ModelState, State

logger = logging.getLogger("ray.serve")

_LONGEST_PAUSE = 600.0  # seconds between two tries to load a version that failed


class Follower:
    """Looks at the alias now and every `seconds`, in a thread of its own."""

    def __init__(self, loader: Loader, alias: str, seconds: float) -> None:
        self.current: Loaded | None = None  # read once per batch: the swap is this one assignment
        self._loader = loader
        self._model = loader.task.model
        self._alias = alias
        self._seconds = seconds
        self._state: State = "missing"
        self._error: str | None = None
        self._failed: Version | None = None
        self._failures = 0
        self._retry_at = 0.0

    def start(self) -> None:
        """Look once, so that a new replica is ready when it joins, and go on looking."""
        self.look()
        threading.Thread(target=self._follow, name=f"follow-{self._model}", daemon=True).start()

    def look(self) -> None:
        """Ask the registry; fetch, verify, load, warm and swap in what is new. Never raises."""
        nobody = f"no version of {self._model} has the alias {self._alias}"
        try:
            wanted = self._loader.registry.find(self._model, self._alias)
        except AbsentRegistryError as error:
            # Before the first model that is how it begins; later the registry is lost.
            self._note("failing" if self.current else "missing", f"{nobody}: {error}")
            return
        # An error that was not foreseen must not end the thread, which nobody would notice.
        except Exception as error:
            self._note("failing", str(error))
            return
        if wanted is None:
            self._note("missing", nobody)
        elif self.current is not None and self.current.version == wanted and self.current.settled:
            self._failed = None
            self._note("ready", None)
        elif wanted != self._failed or time.monotonic() >= self._retry_at:
            self._take(wanted)

    def state(self) -> ModelState:
        """What is served, and why not something newer."""
        current = self.current
        version = current.version if current else None
        return ModelState(
            state=self._state,
            version=str(version) if version else None,
            recipe=version.recipe if version else None,
            run=version.run if version else None,
            bundle_sha256=version.sha256 if version else None,
            engine=current.engine if current else None,
            settled=current.settled if current else None,
            hinted=current.hinted if current else None,
            error=self._error,
        )

    def _follow(self) -> None:
        while True:
            time.sleep(self._seconds)
            self.look()

    def _take(self, wanted: Version) -> None:
        old = self.current
        try:
            # Where nothing answers yet people wait: the fastest way is looked for at the next look, beside the work.
            self.current = self._loader.load_quickly(wanted) if old is None else self._loader.load(wanted)
        # Whatever goes wrong with a new version, the old one must go on serving.
        except Exception as error:
            self._failures = self._failures + 1 if wanted == self._failed else 1
            self._failed = wanted
            self._retry_at = time.monotonic() + min(self._seconds * 2**self._failures, _LONGEST_PAUSE)
            self._note("failing", f"{wanted} cannot be served: {error}")
            observe_swap(self._model, str(wanted), "failed")
        else:
            self._failed = None
            self._note("ready", None)
            logger.info(f"{wanted} is served now, computed by {self.current.engine}")
            if old is None or old.version != wanted:
                observe_swap(self._model, str(wanted), "served")

    def _note(self, state: State, error: str | None) -> None:
        if error is not None and error != self._error:
            logger.warning(error)
        self._state, self._error = state, error
