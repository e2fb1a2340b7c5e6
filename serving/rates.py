"""How often a key may ask: a bucket of tokens that fills again steadily."""

import math
import time
from collections.abc import Callable


class Rates:
    """A bucket for every name. Each holds a minute's tokens, so a minute's requests may come at once."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock  # seconds
        self._buckets: dict[str, tuple[float, float]] = {}  # tokens, and when they were counted

    def take(self, name: str, per_minute: int) -> int:
        """0 where `name` has a token, which is then gone; else the whole seconds until it has one."""
        now = self._clock()
        tokens, counted = self._buckets.get(name, (float(per_minute), now))
        tokens = min(float(per_minute), tokens + (now - counted) * per_minute / 60)
        if tokens >= 1:
            self._buckets[name] = (tokens - 1, now)
            return 0
        self._buckets[name] = (tokens, now)
        return math.ceil((1 - tokens) * 60 / per_minute)
