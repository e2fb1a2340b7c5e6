"""How long a request may take."""

import asyncio
from typing import Any, Self

from serving.refusal import Refusal


class Deadline:
    """`asyncio.timeout` that ends in Refusal 504; the work inside is cancelled."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._timeout = asyncio.timeout(seconds)

    def extend(self, seconds: float) -> None:
        """So many seconds more, for a photograph that turned out to be large."""
        self._seconds += seconds
        when = self._timeout.when()
        if when is not None:
            self._timeout.reschedule(when + seconds)

    async def __aenter__(self) -> Self:
        await self._timeout.__aenter__()
        return self

    async def __aexit__(self, *exception: Any) -> None:
        try:
            await self._timeout.__aexit__(*exception)
        except TimeoutError as error:
            raise Refusal(504, "deadline", f"not done within {self._seconds:g} s, the longest allowed") from error
