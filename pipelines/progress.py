"""How a training shows that it goes on: a bar in a terminal, a line now and then in a log."""

import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Protocol

from torch import Tensor
from tqdm import tqdm

SECONDS = 10.0  # between two lines of a log


class Progress(Protocol):
    """The steps of one epoch, as they are made."""

    def __enter__(self) -> "Progress": ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def advance(self, losses: Mapping[str, Tensor]) -> None:
        """One step more. Losses are read (and a GPU waited for) only when they are about to be shown."""


def progress(title: str, steps: int, done: int, *, shown: bool) -> Progress:
    """The progress of an epoch of `steps` steps of which `done` are made; silent on every worker but the first."""
    terminal = sys.stderr.isatty()
    return _Bar(title, steps, done, shown) if terminal or not shown else _Lines(title, steps, done)


class _Bar:
    def __init__(self, title: str, steps: int, done: int, shown: bool) -> None:
        self.bar = tqdm(
            desc=title, total=steps, initial=done, unit="step", disable=not shown, dynamic_ncols=True, leave=True
        )

    def __enter__(self) -> "_Bar":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.close()

    def advance(self, losses: Mapping[str, Tensor]) -> None:
        if self.bar.update():
            self.bar.set_postfix_str(_said(losses), refresh=False)


class _Lines:
    """Whole lines: Ray and CI pass a worker's output on line by line, so a bar would show when it is over."""

    def __init__(self, title: str, steps: int, done: int) -> None:
        self.title, self.steps, self.first, self.done = title, steps, done, done
        self.begun = self.said = time.monotonic()
        self.losses: Mapping[str, Tensor] = {}

    def __enter__(self) -> "_Lines":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._say()

    def advance(self, losses: Mapping[str, Tensor]) -> None:
        self.done += 1
        self.losses = losses
        if time.monotonic() - self.said > SECONDS:
            self._say()

    def _say(self) -> None:
        self.said = time.monotonic()
        line = tqdm.format_meter(
            self.done,
            self.steps,
            self.said - self.begun,
            prefix=self.title,
            unit="step",
            initial=self.first,
            ncols=160,
            postfix=_said(self.losses),
        )
        print(line.rstrip(), file=sys.stderr, flush=True)


def _said(losses: Mapping[str, Tensor]) -> str:
    return ", ".join(f"{name}={loss.item():.3g}" for name, loss in losses.items())
