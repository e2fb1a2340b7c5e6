"""Landscapes: each is a function of its canvas and draws hour, weather and composition from its numbers."""

import numpy as np

from pipelines.painting import animals, built, growth, land
from pipelines.painting.canvas import Canvas
from pipelines.painting.compose import DAY, FAIR, across, crowd, flat, grove, peaks
from pipelines.painting.light import Light, light, sky


def seashore(canvas: Canvas) -> None:
    """A beach: sky, sea, surf and sand, with umbrellas, people, palms or a boat."""
    hour = light(canvas, *FAIR, "golden")
    horizon = canvas.between(0.34, 0.5)
    sky(canvas, hour, horizon)
    if canvas.chance(0.45):
        land.hills(canvas, hour, horizon - 0.03, 0.03, 0.5, "5f7d4d")
    land.sea(canvas, hour, horizon, 0.85)
    if hour.sun >= 0:
        land.glitter(canvas, hour, horizon, canvas.aspect * (0.5 + hour.side * 0.2), 0.8)
    for _ in range(int(canvas.rng.integers(0, 3))):
        built.sailboat(
            canvas, hour, (across(canvas), horizon + canvas.between(0.015, 0.07)), canvas.between(0.08, 0.16), 0.15
        )
    slope = canvas.between(-0.12, 0.12)
    shore = canvas.line(canvas.between(0.66, 0.78), 0.02, 0.5, 3) + slope * (canvas.x[0] / canvas.aspect - 0.5) * 2
    land.beach(canvas, hour, np.asarray(shore, np.float32))
    animals.gulls(canvas, hour, horizon, int(canvas.rng.integers(0, 4)))
    kind = canvas.rng.random()
    if kind < 0.35:
        growth.palm(canvas, hour, (across(canvas, 0.2), canvas.between(0.88, 0.98)), canvas.between(0.6, 0.8))
    elif kind < 0.7:
        for foot in sorted(canvas.between(0.84, 0.95) for _ in range(2)):
            built.umbrella(canvas, hour, (across(canvas, 0.25), foot), canvas.between(0.24, 0.32))
    else:
        built.rowboat(canvas, hour, (across(canvas, 0.3), canvas.between(0.86, 0.92)), canvas.between(0.35, 0.5))
    crowd(canvas, hour, 0.84, 0.94, int(canvas.rng.integers(0, 3)), 0.24)


def lakeside(canvas: Canvas) -> None:
    """A still lake under mountains, mirrored, with woods on the far shore."""
    hour = light(canvas, *DAY)
    shore = canvas.between(0.48, 0.6)
    sky(canvas, hour, shore)
    peaks(canvas, hour, shore, canvas.between(0.2, 0.7))
    line = land.hills(canvas, hour, shore - 0.05, 0.03, 0.25, "57763f")
    growth.woods(canvas, hour, line + np.float32(0.03), 0.05, canvas.pick(("dark", "pine", "autumn")), 0.2)
    codes = ("pine",) if canvas.chance(0.6) else ("autumn", "green")
    grove(canvas, hour, shore - 0.02, int(canvas.rng.integers(3, 9)), codes, 0.13)
    land.lake(canvas, hour, shore)
    if canvas.chance(0.7):
        bank = canvas.line(1.02, 0.02, 0.4) - np.float32(canvas.between(0.1, 0.28)) * (
            (canvas.x[0] / canvas.aspect if canvas.chance(0.5) else 1 - canvas.x[0] / canvas.aspect) ** 1.5
        )
        land.meadow(canvas, hour, np.asarray(bank, np.float32), blades=False)
        land.grass(canvas, hour, float(bank.min()) + 0.1, 0.0, 500)
    if canvas.chance(0.5):
        built.rowboat(canvas, hour, (across(canvas, 0.3), canvas.between(0.72, 0.85)), canvas.between(0.25, 0.4))
    elif canvas.chance(0.5):
        built.sailboat(canvas, hour, (across(canvas, 0.2), canvas.between(0.64, 0.75)), canvas.between(0.2, 0.35))


def alp(canvas: Canvas) -> None:
    """Snow mountains over a meadow, a snowfield or firs."""
    hour = light(canvas, *FAIR, "dusk")
    ground = canvas.between(0.6, 0.78)
    sky(canvas, hour, ground)
    for i, height in enumerate((0.42, 0.56)):
        land.mountains(canvas, hour, ground * height + 0.06 * i, 0.15, 0.42 - 0.25 * i, canvas.between(0.5, 1.5))
    winter = canvas.chance(0.5)
    if winter:
        land.snowfield(canvas, hour, canvas.line(ground, 0.05, 0.7, 3))
    else:
        growth.woods(canvas, hour, canvas.line(ground, 0.02, 0.5, 3), 0.08, "pine", 0.3)
        land.meadow(canvas, hour, canvas.line(ground, 0.03, 0.7, 3))
        growth.speckle(canvas, hour, ground + 0.08, ("f4d03a", "ffffff", "b06fc0"), 160)
    for foot in sorted(canvas.between(ground + 0.02, 0.95) for _ in range(int(canvas.rng.integers(4, 11)))):
        growth.pine(
            canvas,
            hour,
            (canvas.between(0, canvas.aspect), foot),
            0.12 + 0.75 * (foot - ground),
            0.12 * (1 - foot),
            winter,
        )
    if canvas.chance(0.4):
        foot = canvas.between(ground + 0.08, 0.9)
        built.house(
            canvas,
            hour,
            (across(canvas, 0.25), foot),
            0.1 + 0.4 * (foot - ground),
            0.05,
            "9a6a40",
            "f2f5fb" if winter else "6d5646",
        )


def valley(canvas: Canvas) -> None:
    """Hills behind hills, a winding road, a village, woods green or autumnal."""
    hour = light(canvas, *DAY)
    horizon = canvas.between(0.36, 0.46)
    sky(canvas, hour, horizon)
    land.mountains(canvas, hour, horizon - 0.04, 0.05, 0.66, 0.0)
    autumn = canvas.chance(0.4)
    for i, depth in enumerate((0.5, 0.34, 0.18)):
        line = land.hills(
            canvas, hour, horizon + 0.01 + 0.07 * i, 0.045, depth, canvas.pick(("6f8f45", "86a052", "7a9a4c"))
        )
        growth.woods(canvas, hour, line, 0.035 + 0.012 * i, "autumn" if autumn else "green", depth)
    ground = horizon + 0.22
    land.meadow(canvas, hour, canvas.line(ground, 0.03, 0.8, 3), canvas.between(0.0, 0.5))
    if canvas.chance(0.65):
        land.road(
            canvas,
            hour,
            ground + 0.015,
            across(canvas, 0.4),
            canvas.between(0.1, 0.17),
            canvas.pick(("cdb891", "d8c8a4")),
        )
    for foot in sorted(canvas.between(ground + 0.02, ground + 0.1) for _ in range(int(canvas.rng.integers(1, 5)))):
        built.house(canvas, hour, (across(canvas), foot), canvas.between(0.08, 0.13), 0.15)
    codes = ("autumn", "autumn", "crimson", "green") if autumn else ("green", "green", "dark")
    grove(canvas, hour, ground + 0.05, int(canvas.rng.integers(2, 6)), codes, 0.2)
    if autumn:
        growth.speckle(canvas, hour, ground + 0.15, ("cf6d1f", "e99a2c", "a5481a"), 260)


def daisy(canvas: Canvas) -> None:
    """Daisies close by, a meadow out of focus behind them."""
    hour = light(canvas, "noon", "clear", "morning", "overcast")
    growth.blurred_green(canvas, hour)
    count = int(canvas.rng.integers(2, 8))
    sizes = np.sort(canvas.rng.uniform(0.11, 0.19 if count > 3 else 0.28, count))
    taken: list[tuple[float, float, float]] = []
    for size in sizes:
        for _ in range(30):
            x, y = across(canvas, 0.12), canvas.between(0.16, 0.75)
            if all(np.hypot(x - a, y - b) > 0.85 * (size + s) for a, b, s in taken):
                break
        taken.append((x, y, float(size)))
        growth.stem(canvas, hour, (x, y), (x + canvas.between(-0.15, 0.15), 1.05), 0.02, 2)
    land.grass(canvas, hour, 0.72, 0.0, 320)
    for x, y, size in taken:
        growth.daisy(canvas, hour, (x, y), size, canvas.between(-0.4, 0.4))


def yawl(canvas: Canvas) -> None:
    """A sailing boat at sea."""
    hour = light(canvas, *FAIR, "golden", "sunset", "overcast")
    horizon = canvas.between(0.45, 0.62)
    sky(canvas, hour, horizon)
    if canvas.chance(0.6):
        land.mountains(canvas, hour, horizon - 0.05, 0.04, 0.55, 0.0)
    land.sea(canvas, hour, horizon)
    if hour.sun >= 0:
        land.glitter(canvas, hour, horizon, canvas.aspect * (0.5 + hour.side * 0.2))
    for _ in range(int(canvas.rng.integers(0, 3))):
        built.sailboat(
            canvas, hour, (across(canvas), horizon + canvas.between(0.02, 0.06)), canvas.between(0.1, 0.16), 0.2
        )
    built.sailboat(canvas, hour, (across(canvas, 0.4), canvas.between(0.74, 0.84)), canvas.between(0.5, 0.66))
    animals.gulls(canvas, hour, horizon, int(canvas.rng.integers(0, 4)))


def dunes(canvas: Canvas) -> None:
    """A desert: dune behind dune under a hard sky."""
    hour = light(canvas, "clear", "noon", "golden", "morning")
    horizon = canvas.between(0.36, 0.5)
    sky(canvas, hour, horizon, canvas.between(0, 0.25))
    for i, depth in enumerate((0.45, 0.25, 0.1, 0.0)):
        line = canvas.line(horizon + 0.02 + 0.14 * i, 0.05 + 0.03 * i, 0.8, 2)
        land.dunes(canvas, hour, line, depth)
    crowd(canvas, hour, horizon + 0.25, horizon + 0.4, int(canvas.rng.integers(1, 4)), 0.18)


def sunset(canvas: Canvas) -> None:
    """The sun going down over the sea; boats, palms and people dark before it."""
    hour = light(canvas, "sunset")
    horizon = canvas.between(0.5, 0.66)
    sky(canvas, hour, horizon, canvas.between(0.3, 0.7))
    dark = Light(hour.sky, hour.cloud, hour.shade, (0.2, 0.14, 0.17), hour.haze, hour.sun, hour.side)
    if canvas.chance(0.6):
        land.hills(canvas, dark, horizon - 0.03, 0.04, 0.3, "6c6a78")
    land.sea(canvas, hour, horizon)
    land.glitter(canvas, hour, horizon, canvas.aspect * (0.5 + hour.side * 0.2), count=800)
    for _ in range(int(canvas.rng.integers(1, 3))):
        built.sailboat(
            canvas, dark, (across(canvas, 0.2), canvas.between(horizon + 0.03, 0.8)), canvas.between(0.16, 0.4)
        )
    if canvas.chance(0.6):
        land.hills(canvas, dark, canvas.between(0.9, 0.96), 0.03, 0.0, "5d5a4a")
        if canvas.chance(0.6):
            growth.palm(canvas, dark, (across(canvas, 0.15), 0.97), canvas.between(0.6, 0.8))
        crowd(canvas, dark, 0.92, 0.95, int(canvas.rng.integers(0, 3)), 0.25)
    animals.gulls(canvas, dark, horizon, int(canvas.rng.integers(0, 4)))


def night(canvas: Canvas) -> None:
    """A village by moonlight: stars, snow or grass, windows lit."""
    hour = light(canvas, "night")
    ground = canvas.between(0.58, 0.7)
    sky(canvas, hour, ground, canvas.between(0.05, 0.35))
    peaks(canvas, hour, ground, canvas.between(0.4, 1.0))
    winter = canvas.chance(0.6)
    line = flat(canvas, ground)
    if winter:
        land.snowfield(canvas, hour, line)
    else:
        land.meadow(canvas, hour, line)
    for foot in sorted(canvas.between(ground + 0.03, 0.92) for _ in range(int(canvas.rng.integers(2, 6)))):
        built.house(
            canvas, hour, (across(canvas), foot), 0.12 + 0.35 * (foot - ground), 0.0, "", "e6ecf6" if winter else ""
        )
    for foot in sorted(canvas.between(ground + 0.02, 0.96) for _ in range(5)):
        growth.pine(canvas, hour, (canvas.between(0, canvas.aspect), foot), 0.14 + 0.6 * (foot - ground), 0, winter)
