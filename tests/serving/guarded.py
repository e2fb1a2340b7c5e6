"""One service that answers every address of this machine and asks for keys, for many test files."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from serving import keys
from tests.serving.running import Started, release, started

EVERYWHERE = "0.0.0.0"  # noqa: S104 - what is tested
AT_ONCE = {"RAY_metrics_report_interval_ms": "500"}  # what tests read is gathered soon


@dataclass(frozen=True)
class Guarded:
    """A running service and its file of keys."""

    started: Started
    archive: Any
    file: Path
    key: str  # of museum, which may ask as often as it likes
    slow: str  # of one that may make one request a minute

    @property
    def address(self) -> str:
        return self.started.address

    def client(self, headers: Mapping[str, Any] | None = None) -> httpx.Client:
        """With the museum's key where no headers say otherwise."""
        headers = {"Authorization": f"Bearer {self.key}"} if headers is None else headers
        return httpx.Client(base_url=self.address, headers=headers, timeout=120)


@contextmanager
def running(archive: Any, folder: Path) -> Iterator[Guarded]:
    """A service whose models are all there; its colorizer takes hints."""
    release(archive, 1, "champion")
    file = folder / "keys.json"
    museum, slow = keys.add(file, "museum", 1_000_000), keys.add(file, "slow", 1)
    arguments = {"keys": str(file), "shadow_percent": 100}
    with started(folder, archive.uri, arguments, host=EVERYWHERE, environment=AT_ONCE) as service:
        guarded = Guarded(service, archive, file, museum, slow)
        service.until(lambda: service.ready({"X-Api-Key": museum}))
        yield guarded
