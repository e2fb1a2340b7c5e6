"""Whole pictures indoors: fruit, flowers in a vase, a cat."""

import numpy as np

from pipelines.painting import animals, growth, table
from pipelines.painting.canvas import Canvas
from pipelines.painting.light import Light, light


def _room(canvas: Canvas) -> tuple[Light, float]:
    hour, edge = light(canvas, "noon"), canvas.between(0.48, 0.6)
    table.room(canvas, hour, edge)
    canvas.note("dining table", 0, edge, canvas.aspect, 1)
    return hour, edge


def _row(canvas: Canvas, hour: Light, kinds: tuple[str, ...], count: int, low: float, high: float) -> None:
    """Fruit standing about on the table without overlapping much, the far ones first."""
    taken: list[tuple[float, float, float]] = []
    for _ in range(count * 12):
        size = canvas.between(0.085, 0.125)
        x, y = canvas.between(0.1, canvas.aspect - 0.1), canvas.between(low, high)
        if len(taken) < count and all(np.hypot(x - a, (y - b) * 1.4) > 0.92 * (size + s) for a, b, s in taken):
            taken.append((x, y, size))
    for x, y, size in sorted(taken, key=lambda one: one[1]):
        table.fruit(canvas, hour, canvas.pick(kinds), (x, y), size)


def _bowl(canvas: Canvas, hour: Light, kinds: tuple[str, ...]) -> None:
    x, y, size = canvas.aspect * canvas.between(0.38, 0.62), canvas.between(0.58, 0.66), canvas.between(0.3, 0.37)
    table.bowl(canvas, hour, (x, y), size, front=False)
    for row, count, lift in ((0, 4, 0.1), (1, 3, 0.24), (2, 1, 0.37)):
        for i in range(count):
            at = (
                x + (i - (count - 1) / 2) * size * 0.44 + canvas.between(-0.01, 0.01),
                y - lift * size * 1.2 + 0.02 * row,
            )
            table.fruit(canvas, hour, canvas.pick(kinds), at, size * canvas.between(0.25, 0.3), shaded=False)
    table.bowl(canvas, hour, (x, y), size, front=True)


def _fruit(canvas: Canvas, kinds: tuple[str, ...]) -> None:
    hour, edge = _room(canvas)
    if canvas.chance(0.45):
        _bowl(canvas, hour, kinds)
        _row(canvas, hour, kinds, int(canvas.rng.integers(1, 4)), 0.84, 0.9)
    else:
        _row(canvas, hour, kinds, int(canvas.rng.integers(3, 9)), edge + 0.06, 0.88)


def oranges(canvas: Canvas) -> None:
    """Oranges on a table or in a bowl."""
    _fruit(canvas, ("orange",))


def green_apples(canvas: Canvas) -> None:
    """Green apples on a table or in a bowl."""
    _fruit(canvas, ("green apple",))


def lemons(canvas: Canvas) -> None:
    """Lemons on a table or in a bowl."""
    _fruit(canvas, ("lemon",))


def bananas(canvas: Canvas) -> None:
    """Bananas on a table, sometimes beside other fruit."""
    hour, edge = _room(canvas)
    if canvas.chance(0.5):
        _row(canvas, hour, ("orange", "apple", "green apple"), 2, edge + 0.03, edge + 0.1)
    x, y = canvas.aspect * canvas.between(0.4, 0.6), canvas.between(0.68, 0.76)
    table.bananas(canvas, hour, (x, y), canvas.between(0.28, 0.38), int(canvas.rng.integers(3, 6)))


def mixed_fruit(canvas: Canvas) -> None:
    """A bowl of several kinds, grapes or bananas beside it."""
    hour, _ = _room(canvas)
    _bowl(canvas, hour, ("orange", "apple", "green apple", "peach", "plum", "lemon"))
    x = canvas.aspect * (0.2 if canvas.chance(0.5) else 0.8)
    if canvas.chance(0.55):
        table.grapes(
            canvas,
            hour,
            (x, canvas.between(0.84, 0.9)),
            canvas.between(0.17, 0.23),
            canvas.pick(("grape", "green grape")),
        )
    else:
        table.bananas(canvas, hour, (x, 0.88), 0.19, 3)
    _row(canvas, hour, ("apple", "orange", "peach", "plum"), 2, 0.86, 0.92)


def bouquet(canvas: Canvas) -> None:
    """A vase of daisies, poppies or sunflowers on a table."""
    hour, edge = _room(canvas)
    x, foot = canvas.aspect * canvas.between(0.42, 0.58), canvas.between(edge + 0.22, 0.9)
    size = canvas.between(0.34, 0.4)
    kind = canvas.pick(("daisy", "sunflower", "poppy"))
    count = {"daisy": 9, "sunflower": 6, "poppy": 10}[kind]
    heads = []
    for i in range(count):
        turn = np.pi * (i + 0.5) / count + canvas.between(-0.1, 0.1)
        away = canvas.between(0.13, 0.36)
        heads.append((x - np.cos(turn) * away, foot - size - 0.07 - np.sin(turn) * away))
    mouth = (x, foot - size)
    for head in heads:
        growth.stem(canvas, hour, head, mouth, 0.011, 2)
    table.vase(canvas, hour, (x, foot), size)
    for head in sorted(heads, key=lambda one: one[1]):
        if kind == "daisy":
            growth.daisy(canvas, hour, head, canvas.between(0.07, 0.1), canvas.between(-0.4, 0.4))
        elif kind == "sunflower":
            growth.sunflower(canvas, hour, head, canvas.between(0.1, 0.13))
        else:
            growth.poppy(canvas, hour, head, canvas.between(0.06, 0.08))
    canvas.note("potted plant", x - 0.4, foot - size - 0.5, x + 0.4, foot)
    if canvas.chance(0.6):
        _row(canvas, hour, ("apple", "orange", "lemon", "peach"), int(canvas.rng.integers(1, 4)), 0.86, 0.91)


def cat(canvas: Canvas) -> None:
    """A cat on a table by the wall."""
    hour, _ = _room(canvas)
    coat = canvas.pick(("ginger", "ginger", "white", "black", "brown"))
    place = (canvas.aspect / 2 + canvas.between(-0.15, 0.15), canvas.between(0.88, 0.95))
    animals.cat(canvas, hour, place, canvas.between(0.66, 0.78), coat)


def tabby(canvas: Canvas) -> None:
    """A ginger tabby on a table by the wall."""
    hour, _ = _room(canvas)
    place = (canvas.aspect / 2 + canvas.between(-0.15, 0.15), canvas.between(0.88, 0.95))
    animals.cat(canvas, hour, place, canvas.between(0.66, 0.8), "ginger")
