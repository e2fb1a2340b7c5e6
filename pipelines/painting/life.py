"""Scenes of what people make and keep: barns, parks, fields, villages, animals, portraits."""

import numpy as np

from pipelines.painting import animals, built, growth, land, people
from pipelines.painting.canvas import Canvas
from pipelines.painting.compose import DAY, FAIR, across, crowd, flat, grove, peaks
from pipelines.painting.light import light, sky


def barn(canvas: Canvas) -> None:
    """A red barn in a meadow with a tree, a fence or corn."""
    hour = light(canvas, *DAY)
    ground = canvas.between(0.56, 0.66)
    sky(canvas, hour, ground)
    line = land.hills(canvas, hour, ground - 0.03, 0.03, 0.4, "6f8f45")
    growth.woods(canvas, hour, line, 0.05, canvas.pick(("green", "dark", "autumn")), 0.32)
    land.meadow(canvas, hour, flat(canvas, ground), canvas.between(0, 0.7))
    autumn = canvas.chance(0.3)
    codes = ("autumn", "crimson") if autumn else ("green", "dark")
    x = canvas.aspect / 2 + canvas.between(-0.14, 0.14)
    growth.tree(
        canvas,
        hour,
        (x - hour.side * canvas.between(0.34, 0.5), ground + 0.06),
        canvas.between(0.38, 0.55),
        canvas.pick(codes),
    )
    built.barn(canvas, hour, (x + hour.side * 0.12, ground + canvas.between(0.12, 0.18)), canvas.between(0.44, 0.56))
    if canvas.chance(0.5):
        growth.tree(
            canvas,
            hour,
            (x + hour.side * canvas.between(0.46, 0.6), ground + 0.14),
            canvas.between(0.4, 0.6),
            canvas.pick(codes),
        )
    if canvas.chance(0.55):
        built.fence(canvas, hour, canvas.between(0.9, 0.97), canvas.between(0.11, 0.15), canvas.between(-0.04, 0.04))
    if canvas.chance(0.5):
        growth.speckle(canvas, hour, ground + 0.2, ("f4d03a", "ffffff"), 120)
    land.grass(canvas, hour, 0.92, 0.1, 400)


def lighthouse(canvas: Canvas) -> None:
    """A lighthouse on a grassy cliff over the sea, by day or at sunset."""
    hour = light(canvas, *FAIR, "overcast", "sunset", "dusk")
    horizon = canvas.between(0.55, 0.66)
    sky(canvas, hour, horizon)
    land.sea(canvas, hour, horizon)
    if hour.sun >= 0:
        land.glitter(canvas, hour, horizon, canvas.aspect * (0.5 + hour.side * 0.2))
    if canvas.chance(0.5):
        built.sailboat(canvas, hour, (across(canvas), horizon + 0.04), canvas.between(0.09, 0.15), 0.15)
    x = canvas.aspect * (0.5 - hour.side * canvas.between(0.12, 0.26))
    away = (canvas.x[0] - x) / canvas.aspect
    cliff = 0.7 + 0.9 * np.clip(np.abs(away) - 0.14, 0, 1) ** 1.1 + 0.02 * canvas.noise(0.15, 4, rows=1)[0]
    cliff = np.asarray(
        np.where(away * -hour.side > 0, np.minimum(cliff, 0.74 + 0.12 * np.abs(away)), cliff), np.float32
    )
    rock = canvas.noise(0.16, 6, 0.8, 0.6)
    shade = np.clip(0.5 - 1.3 * canvas.relief(rock, canvas.h // 70, hour.side), 0, 1)[..., None]
    canvas.below(
        cliff + np.float32(0.01), np.asarray(hour.on("4d463f") * (1 - shade) + hour.on("a3978a") * shade, np.float32)
    )
    top = cliff + np.float32(0.0)
    green = np.clip(1.25 - (canvas.y - top[None, :]) / (0.09 + 0.04 * rock), 0, 1) * (canvas.y > top[None, :])
    canvas.cover(np.asarray(green, np.float32), hour.on("6d8f43"))
    built.lighthouse(
        canvas,
        hour,
        (x, float(cliff[int(np.clip(x * canvas.h, 0, canvas.w - 1))]) + 0.03),
        canvas.between(0.5, 0.6),
        canvas.pick(("c2392b", "c2392b", "2b3f6b")),
    )
    if canvas.chance(0.6):
        built.house(canvas, hour, (x - hour.side * 0.2, 0.77), 0.15, 0.0, "f3eee2")
    count = 500
    gx = canvas.rng.uniform(0, canvas.aspect, count)
    gy = cliff[np.clip((gx * canvas.h).astype(int), 0, canvas.w - 1)] + canvas.rng.random(count) * 0.1
    starts = np.stack([gx, gy], 1).astype(np.float32)
    canvas.strokes(
        starts, starts + np.array([0.004, -0.014], np.float32), [hour.on(c) for c in ("456f2b", "7ca347", "9dbb5a")]
    )
    animals.gulls(canvas, hour, horizon, int(canvas.rng.integers(1, 5)))


def autumn(canvas: Canvas) -> None:
    """A park in autumn: a path, a bench, leaves on the ground."""
    hour = light(canvas, "clear", "morning", "golden", "overcast")
    ground = canvas.between(0.52, 0.6)
    sky(canvas, hour, ground)
    growth.woods(canvas, hour, flat(canvas, ground), 0.16, "autumn", 0.35)
    land.meadow(canvas, hour, flat(canvas, ground), 0.25)
    land.road(canvas, hour, ground + 0.01, across(canvas, 0.4), 0.16, "c9b491")
    growth.speckle(canvas, hour, ground + 0.02, ("cf6d1f", "e99a2c", "a5481a", "f8c858"), 700)
    codes = ("autumn", "autumn", "crimson")
    for way in (-1, 1):
        for foot in (ground + 0.04, ground + 0.13, ground + 0.26):
            x = canvas.aspect * (0.5 + way * (0.1 + 1.3 * (foot - ground)) * canvas.between(0.9, 1.2))
            growth.tree(
                canvas, hour, (x, foot), 0.2 + 1.5 * (foot - ground), canvas.pick(codes), max(0, 0.2 - (foot - ground))
            )
    if canvas.chance(0.75):
        built.bench(canvas, hour, (across(canvas, 0.3), canvas.between(0.84, 0.92)), canvas.between(0.26, 0.36))
    crowd(canvas, hour, ground + 0.18, ground + 0.28, int(canvas.rng.integers(0, 3)), 0.24)
    growth.speckle(canvas, hour, 0.85, ("e99a2c", "cf6d1f", "f8c858"), 90)


def flower_field(canvas: Canvas) -> None:
    """Rows of lavender, tulips or sunflowers, or a poppy meadow, under a summer sky."""
    hour = light(canvas, *FAIR, "golden")
    ground = canvas.between(0.4, 0.52)
    sky(canvas, hour, ground)
    land.mountains(canvas, hour, ground - 0.06, 0.04, 0.6, 0.0)
    line = land.hills(canvas, hour, ground - 0.02, 0.02, 0.35, "7a9a4c")
    growth.woods(canvas, hour, line, 0.04, "dark", 0.3)
    kind = canvas.rng.random()
    land.meadow(canvas, hour, flat(canvas, ground), 0.1)
    if kind < 0.35:
        land.furrows(canvas, hour, ground + 0.01, "8a68c0", "4c3f6b")
    elif kind < 0.65:
        growth.speckle(canvas, hour, ground + 0.02, ("d8281c", "e8402a", "c01c14"), 700)
        for y in sorted(canvas.between(0.72, 0.98) for _ in range(26)):
            growth.poppy(canvas, hour, (canvas.between(0, canvas.aspect), y), 0.01 + 0.1 * (y - 0.66))
    else:
        for y in sorted(canvas.between(ground + 0.03, 1.0) ** 1.0 for _ in range(46)):
            size = 0.014 + 0.16 * (y - ground)
            growth.sunflower(canvas, hour, (canvas.between(0, canvas.aspect), y), size * canvas.between(0.8, 1.1))
    if canvas.chance(0.5):
        built.house(canvas, hour, (across(canvas, 0.2), ground + 0.02), canvas.between(0.1, 0.16), 0.2)
    if canvas.chance(0.35):
        crowd(canvas, hour, 0.8, 0.9, 1, 0.34)


def pasture(canvas: Canvas) -> None:
    """Cows or sheep in a meadow."""
    hour = light(canvas, *DAY)
    ground = canvas.between(0.42, 0.54)
    sky(canvas, hour, ground)
    peaks(canvas, hour, ground, canvas.between(0, 0.6), 1)
    line = land.hills(canvas, hour, ground - 0.01, 0.03, 0.34, "7a9a4c")
    growth.woods(canvas, hour, line, 0.045, canvas.pick(("green", "dark")), 0.3)
    land.meadow(canvas, hour, flat(canvas, ground), canvas.between(0, 0.25))
    growth.speckle(canvas, hour, ground + 0.15, ("f4d03a", "ffffff"), 140)
    grove(canvas, hour, ground + 0.02, int(canvas.rng.integers(1, 4)), ("green", "dark"), 0.22)
    draw = animals.sheep if canvas.chance(0.5) else animals.cow
    for foot in sorted(canvas.between(ground + 0.13, 0.93) for _ in range(int(canvas.rng.integers(2, 6)))):
        draw(canvas, hour, (across(canvas), foot), 0.08 + 0.5 * (foot - ground))
    if canvas.chance(0.3):
        built.fence(canvas, hour, 0.98, 0.12, 0.0)
    land.grass(canvas, hour, 0.93, 0.05, 300)


def village(canvas: Canvas) -> None:
    """A street or lane with red roofs, trees, a car and people."""
    hour = light(canvas, *DAY)
    ground = canvas.between(0.5, 0.58)
    sky(canvas, hour, ground)
    line = land.hills(canvas, hour, ground - 0.05, 0.03, 0.4, "6f8f45")
    growth.woods(canvas, hour, line, 0.05, "dark", 0.35)
    land.meadow(canvas, hour, flat(canvas, ground), 0.1, blades=False)
    land.road(
        canvas, hour, ground + 0.01, canvas.aspect * canvas.between(0.4, 0.6), 0.24, canvas.pick(("8d8a88", "a39a8c"))
    )
    for foot in (ground + 0.05, ground + 0.14, ground + 0.27):
        for way in (-1, 1):
            x = canvas.aspect * 0.5 + way * (0.2 + 1.0 * (foot - ground) + canvas.between(0, 0.06))
            size = 0.17 + 0.75 * (foot - ground)
            if canvas.chance(0.6):
                growth.tree(
                    canvas,
                    hour,
                    (x + way * canvas.between(0.1, 0.2), foot - 0.01),
                    size * 1.05,
                    canvas.pick(("green", "dark")),
                )
            built.house(canvas, hour, (x, foot), size, 0.06)
    if canvas.chance(0.55):
        built.car(canvas, hour, (across(canvas, 0.35), canvas.between(0.86, 0.92)), canvas.between(0.3, 0.4))
    crowd(canvas, hour, 0.8, 0.93, int(canvas.rng.integers(1, 4)), 0.27)


def portrait(canvas: Canvas) -> None:
    """Someone before a landscape."""
    hour = light(canvas, "noon", "clear", "morning", "golden")
    ground = canvas.between(0.45, 0.6)
    sky(canvas, hour, ground)
    if canvas.chance(0.5):
        land.mountains(canvas, hour, ground - 0.1, 0.07, 0.55, 0.4)
        land.meadow(canvas, hour, flat(canvas, ground), 0.15)
    elif canvas.chance(0.5):
        land.sea(canvas, hour, ground, 0.9)
        land.beach(canvas, hour, flat(canvas, 0.8))
    else:
        growth.woods(canvas, hour, flat(canvas, ground), 0.2, canvas.pick(("green", "autumn")), 0.3)
        land.meadow(canvas, hour, flat(canvas, ground), 0.1)
    places = (0.5,) if canvas.aspect < 1.1 or canvas.chance(0.6) else (0.3, 0.7)
    for place in places:
        size = canvas.between(0.98, 1.12) if len(places) == 1 else canvas.between(0.86, 0.98)
        people.portrait(canvas, hour, (canvas.aspect * place + canvas.between(-0.04, 0.04), 1.03), size)


def dog(canvas: Canvas) -> None:
    """A dog in a meadow."""
    hour = light(canvas, *DAY)
    ground = canvas.between(0.44, 0.56)
    sky(canvas, hour, ground)
    growth.woods(
        canvas, hour, flat(canvas, ground), canvas.between(0.1, 0.18), canvas.pick(("green", "dark", "autumn")), 0.3
    )
    land.meadow(canvas, hour, flat(canvas, ground), canvas.between(0, 0.25))
    growth.speckle(canvas, hour, ground + 0.1, ("f4d03a", "ffffff"), 140)
    coat = canvas.pick(("golden", "golden", "brown", "black", "white"))
    animals.dog(
        canvas,
        hour,
        (canvas.aspect / 2 + canvas.between(-0.15, 0.15), canvas.between(0.9, 0.97)),
        canvas.between(0.62, 0.74),
        coat,
    )
    land.grass(canvas, hour, 0.93, 0.05, 420)


def kites(canvas: Canvas) -> None:
    """People flying kites on a beach."""
    hour = light(canvas, *FAIR)
    horizon = canvas.between(0.52, 0.6)
    sky(canvas, hour, horizon)
    land.sea(canvas, hour, horizon, 0.85)
    land.beach(canvas, hour, flat(canvas, canvas.between(0.7, 0.76)))
    for _ in range(int(canvas.rng.integers(1, 4))):
        x, foot, size = across(canvas), canvas.between(0.84, 0.95), canvas.between(0.22, 0.28)
        people.person(canvas, hour, (x, foot), size, canvas.chance(0.4), canvas.chance(0.3))
        people.kite(
            canvas, (across(canvas), canvas.between(0.1, 0.36)), canvas.between(0.09, 0.14), (x, foot - size * 0.55)
        )
