"""What grows: trees near and far, palms, flowers in the meadow and close by."""

import numpy as np

from pipelines.painting.canvas import Canvas, Floats, Place, mix, ramp
from pipelines.painting.light import Light

FOLIAGE: dict[str, tuple[str, ...]] = {
    "green": ("1f3d1c", "33592a", "4f7d36", "7aa548", "a6c765"),
    "dark": ("152f20", "244a2c", "386439", "5a8547", "86a860"),
    "autumn": ("6e2f14", "a5481a", "cf6d1f", "e99a2c", "f8c858"),
    "crimson": ("54161a", "86231f", "b53a24", "d65f33", "eb8e52"),
    "blossom": ("99586f", "c98099", "e6a9bb", "f6cdd6", "fdebee"),
    "pine": ("10261f", "1b3a2b", "2a5138", "40694a", "648a63"),
}


def crown(canvas: Canvas, hour: Light, middle: Place, size: Place, code: str, depth: float, count: int) -> None:
    """Foliage as dabs in clumps, dark beneath and away from the light, bright towards it."""
    rng = canvas.rng
    lumps = int(np.clip(count // 26, 5, 22))
    angle, away = rng.uniform(0, 2 * np.pi, lumps), np.sqrt(rng.random(lumps)) * 0.78
    at = np.stack([np.cos(angle) * away, np.sin(angle) * away], 1)
    mine = rng.integers(lumps, size=count)
    turn, far = rng.uniform(0, 2 * np.pi, count), np.sqrt(rng.random(count)) * 0.34
    offset = np.stack([np.cos(turn) * far, np.sin(turn) * far], 1)
    place = at[mine] + offset
    sun = np.array([0.5 * hour.side, -0.75])
    lit = 0.42 + 0.36 * (at[mine] @ sun) + 0.85 * (offset @ sun) + rng.normal(0, 0.09, count)
    order = np.argsort(lit + rng.normal(0, 0.12, count))
    inks = [hour.on(c, depth) for c in FOLIAGE[code]]
    fine = float(np.clip(1.25 - 1.5 * min(size), 0.55, 1.2))
    radius = min(size) * fine * rng.uniform(0.05, 0.13, count) * (1.15 - 0.4 * np.clip(lit, 0, 1))
    base = np.array(size) * 0.92
    under = at * base + middle
    canvas.dabs(under, np.full(lumps, min(size) * 0.3), np.tile(inks[0], (lumps, 1)))
    canvas.dabs((place * base + middle)[order], radius[order], ramp(inks, np.clip(lit, 0, 1))[order])


def tree(canvas: Canvas, hour: Light, foot: Place, height: float, code: str = "green", depth: float = 0.0) -> None:
    """A broad tree with a trunk, two boughs and its shadow on the ground."""
    x, y = foot
    wide = height * canvas.between(0.3, 0.42)
    canvas.glow((x - hour.side * wide * 0.7, y + 0.005), wide * 1.5, height * 0.09, hour.on("1c2a18", depth), 0.6)
    bark, dark = hour.on("8a6a4c", depth), hour.on("3d2b1f", depth)
    lean = canvas.between(-0.03, 0.03) * height
    trunk = height * 0.045
    top = y - height * 0.55
    places = [(x - trunk, y), (x - trunk * 0.55 + lean, top), (x + trunk * 0.55 + lean, top), (x + trunk, y)]
    canvas.polygon(places, *((dark, bark) if hour.side > 0 else (bark, dark)))
    for way in (-1, 1):
        bough = [(x + lean * 0.7, y - height * 0.38), (x + lean + way * wide * 0.5, y - height * 0.62)]
        canvas.limb(bough, height * 0.02, dark)
    count = int(np.clip(3000 * height, 110, 1500))
    crown(canvas, hour, (x + lean, y - height * 0.64), (wide, height * 0.38), code, depth, count)


def pine(canvas: Canvas, hour: Light, foot: Place, height: float, depth: float = 0.0, snowy: bool = False) -> None:
    """A fir: tiers of drooping strokes, darker away from the light; snow on its boughs if wanted."""
    x, y = foot
    canvas.glow((x - hour.side * height * 0.1, y), height * 0.25, height * 0.05, hour.on("1b2a2c", depth), 0.55)
    canvas.limb([(x, y), (x, y - height * 0.3)], height * 0.03, hour.on("4a3526", depth))
    inks = [hour.on(c, depth) for c in FOLIAGE["pine"]]
    white = [hour.on("8fa8c9", depth), hour.on("f6f9ff", depth)]
    tiers = int(np.clip(height * 34, 6, 13))
    for i in range(tiers):
        t = i / tiers
        low, half = y - height * (0.1 + 0.84 * t), height * 0.24 * (1 - t) ** 0.85 + 0.003
        count = 16
        across = np.linspace(-1, 1, count) + canvas.rng.normal(0, 0.06, count)
        starts = np.stack([np.full(count, x), np.full(count, low - height * 0.11)], 1)
        sag = np.abs(across) * height * 0.02 + canvas.rng.uniform(0, 0.02, count) * height
        ends = np.stack([x + across * half, low + sag], 1)
        lit = np.clip(0.42 + 0.45 * across * hour.side + canvas.rng.normal(0, 0.12, count), 0, 1)
        for start, end, colour in zip(starts, ends, ramp(inks, lit), strict=True):
            canvas.limb([start, end], height * 0.02, colour)
        if snowy:
            over = np.stack([x + across * half * 0.85, low - height * 0.012 + sag * 0.6], 1)
            canvas.dabs(over, np.full(count, height * 0.013), ramp(white, np.clip(lit + 0.3, 0, 1)))


def woods(canvas: Canvas, hour: Light, line: Floats, height: float, code: str, depth: float) -> None:
    """A far wood along a skyline, as dabs."""
    count = int(900 * canvas.aspect)
    x = canvas.rng.uniform(0, canvas.aspect, count)
    column = np.clip((x * canvas.h).astype(int), 0, canvas.w - 1)
    bump = 0.75 + 0.3 * canvas.noise(0.09, 3, rows=1)[0][column]
    up = canvas.rng.random(count)
    order = np.argsort(up)[::-1]
    y = line[column] - height * bump * up + 0.008
    lit = np.clip(up * 0.75 + canvas.rng.normal(0, 0.16, count), 0, 1)
    inks = [hour.on(c, depth) for c in FOLIAGE[code]]
    canvas.dabs(np.stack([x, y], 1)[order], height * canvas.rng.uniform(0.1, 0.2, count), ramp(inks, lit)[order])


def palm(canvas: Canvas, hour: Light, foot: Place, height: float) -> None:
    """A leaning palm."""
    x, y = foot
    lean = canvas.between(0.1, 0.3) * height * (1 if canvas.chance(0.5) else -1)
    t = np.linspace(0, 1, 14)
    stem = np.stack([x + lean * t**1.7, y - height * t], 1)
    canvas.glow((x, y), height * 0.25, height * 0.035, hour.on("4a3a28"), 0.6)
    canvas.limb(stem, height * 0.035, hour.on("6d5138"))
    canvas.limb(np.add(stem, [hour.side * 0.004, 0]), height * 0.012, hour.on("b08d63"))
    head = stem[-1]
    inks = [hour.on(c) for c in FOLIAGE["green"]]
    for angle in np.linspace(-0.35, np.pi + 0.35, 11) + canvas.rng.normal(0, 0.1, 11):
        long = height * canvas.between(0.36, 0.48)
        s = np.linspace(0, 1, 22)
        rib = head + np.stack([np.cos(angle) * long * s, -np.sin(angle) * long * s * 0.7 + long * 0.62 * s * s], 1)
        shade = ramp(inks, np.clip(0.4 + 0.4 * np.sin(angle) + 0.2 * np.cos(angle) * hour.side, 0, 1))
        hang = np.stack([np.full(22, 0.02), 0.16 * np.sin(np.pi * np.clip(s + 0.08, 0, 1))], 1) * long
        for way in (-1, 1):
            ends = rib + hang * [way * 2.5, 1]
            canvas.strokes(rib.astype(np.float32), ends.astype(np.float32), [shade, shade * np.float32(0.75)], 2)
        canvas.limb(rib, height * 0.008, np.clip(shade * np.float32(1.2), 0, 1))


def speckle(canvas: Canvas, hour: Light, top: float, codes: tuple[str, ...], count: int) -> None:
    """Small flowers or fallen leaves all over the ground, bigger towards us."""
    t = np.sort(canvas.rng.random(count) ** 0.6)
    y = top + (1.02 - top) * t
    x = canvas.rng.uniform(0, canvas.aspect, count)
    # flowers stand together in drifts
    x += 0.1 * np.sin(x * 9 + y * 25) + 0.05 * np.sin(x * 23 - y * 40)
    inks = np.stack([hour.on(c) for c in codes])[canvas.rng.integers(len(codes), size=count)]
    shade = canvas.rng.uniform(0.82, 1.06, (count, 1)).astype(np.float32)
    canvas.dabs(
        np.stack([x, y], 1), 0.0016 + 0.007 * t * canvas.rng.uniform(0.5, 1.1, count), np.clip(inks * shade, 0, 1)
    )


def daisy(canvas: Canvas, hour: Light, middle: Place, size: float, tilt: float) -> None:
    """A daisy: white petals round a yellow heart, seen at a slant."""
    petals = int(canvas.rng.integers(15, 22))
    flat = canvas.between(0.62, 0.98)
    start = canvas.between(0, 6)
    for ring, long in ((0, 1.0), (1, 0.88)):
        for i in range(petals):
            angle = start + 2 * np.pi * (i + 0.5 * ring) / petals + canvas.rng.normal(0, 0.06)
            _petal(canvas, hour, middle, size * long * canvas.between(0.9, 1.05), angle, flat, tilt, ring)
    inks = [hour.on(c) for c in ("8a5208", "d8940f", "f7c62b", "ffe873")]
    canvas.ball(middle, size * 0.27, size * 0.27 * (flat * 0.6 + 0.4), inks, hour.side, 0.1)
    count = 70
    turn, away = canvas.rng.uniform(0, 6.3, count), np.sqrt(canvas.rng.random(count)) * size * 0.25
    dots = np.stack([np.cos(turn) * away, np.sin(turn) * away * (flat * 0.6 + 0.4)], 1) + middle
    canvas.dabs(dots, np.full(count, size * 0.016), ramp(inks[1:], canvas.rng.random(count)))


def _petal(
    canvas: Canvas, hour: Light, middle: Place, long: float, angle: float, flat: float, tilt: float, ring: int
) -> None:
    s = np.linspace(0, 1, 9)
    half = 0.105 * np.sin(np.pi * s**0.75) ** 0.8 + 0.012
    along, across = np.concatenate([s, s[::-1]]) * long, np.concatenate([half, -half[::-1]]) * long
    x = along * np.cos(angle) - across * np.sin(angle)
    y = (along * np.sin(angle) + across * np.cos(angle)) * flat
    places = np.stack([x * np.cos(tilt) - y * np.sin(tilt), x * np.sin(tilt) + y * np.cos(tilt)], 1) + middle
    lit = 0.5 + 0.35 * np.cos(angle) * hour.side - 0.3 * np.sin(angle) + 0.12 * ring + canvas.rng.normal(0, 0.08)
    colour = ramp([hour.on("b3bacb"), hour.on("e6e8ee"), hour.on("ffffff")], np.clip(lit + 0.25, 0, 1))
    canvas.polygon(places, colour, colour * np.float32(0.86), angle)


def poppy(canvas: Canvas, hour: Light, middle: Place, size: float) -> None:
    """A poppy: crumpled red petals, a dark heart."""
    for i, angle in enumerate(canvas.rng.permutation(5)):
        turn = angle * 1.26 + canvas.rng.normal(0, 0.15)
        at = (middle[0] + np.cos(turn) * size * 0.4, middle[1] + np.sin(turn) * size * 0.3)
        red = mix(hour.on("c01c14"), hour.on("f0462a"), np.clip(0.2 + 0.2 * i, 0, 1))
        canvas.oval(at, size * 0.62, size * 0.52, red, red * np.float32(0.62), tilt=turn, turn=1.2)
    canvas.ball(middle, size * 0.17, size * 0.15, [hour.on("120d10"), hour.on("3a3540")], hour.side, 0.2)


def sunflower(canvas: Canvas, hour: Light, middle: Place, size: float) -> None:
    """A sunflower: pointed yellow petals round a brown disc of seeds."""
    for ring in (0, 1):
        for i in range(22):
            angle = 2 * np.pi * (i + 0.5 * ring) / 22 + canvas.rng.normal(0, 0.07)
            long = size * canvas.between(0.88, 1.08) * (1 - 0.1 * ring)
            tip = (middle[0] + np.cos(angle) * long, middle[1] + np.sin(angle) * long)
            side = np.array([-np.sin(angle), np.cos(angle)]) * size * 0.115
            mid = np.array([np.cos(angle), np.sin(angle)]) * size * 0.62 + middle
            lit = 0.5 + 0.3 * np.cos(angle) * hour.side - 0.3 * np.sin(angle) + 0.2 * ring
            colour = ramp([hour.on("c67f08"), hour.on("f3b414"), hour.on("ffdb45")], np.clip(lit, 0, 1))
            canvas.polygon(np.array([middle, mid + side, tip, mid - side]), colour, colour * np.float32(0.88), angle)
    inks = [hour.on(c) for c in ("2a1509", "5a3214", "855022")]
    canvas.ball(middle, size * 0.44, size * 0.44, inks, hour.side, 0.05)
    count = 190
    spiral = np.arange(count)
    away, turn = np.sqrt(spiral / count) * size * 0.42, spiral * 2.39996
    dots = np.stack([np.cos(turn) * away, np.sin(turn) * away], 1) + middle
    canvas.dabs(dots, np.full(count, size * 0.016), ramp([inks[0], hour.on("b07a35")], canvas.rng.random(count)))


def stem(canvas: Canvas, hour: Light, top: Place, foot: Place, width: float, leaves: int = 2) -> None:
    """A flower's stalk with leaves."""
    t = np.linspace(0, 1, 12)
    bend = canvas.between(-0.06, 0.06)
    path = np.stack([top[0] + (foot[0] - top[0]) * t + bend * np.sin(np.pi * t), top[1] + (foot[1] - top[1]) * t], 1)
    canvas.limb(path, width, hour.on("35602a"))
    canvas.limb(np.add(path, [hour.side * width * 0.2, 0]), width * 0.35, hour.on("7fa54c"))
    for _ in range(leaves):
        at = path[int(canvas.rng.integers(4, 11))]
        way = 1 if canvas.chance(0.5) else -1
        long = width * canvas.between(7, 13)
        s = np.linspace(0, 1, 10)
        upper = np.stack([way * long * s, -long * (0.5 * s + 0.22 * np.sin(np.pi * s))], 1)
        lower = np.stack([way * long * s, -long * (0.5 * s - 0.16 * np.sin(np.pi * s))], 1)
        places = np.concatenate([upper, lower[::-1]]) + at
        canvas.polygon(places, hour.on("6d9a45"), hour.on("2f5a26"), 1.2)


def blurred_green(canvas: Canvas, hour: Light) -> None:
    """A meadow out of focus, behind flowers that are close."""
    soft = canvas.noise(0.5, 3, 1.3)
    fall = np.clip(canvas.y * 0.9 + 0.2 * soft, 0, 1)
    canvas.rgb[:] = ramp([hour.on(c) for c in ("c7d693", "8fb05a", "527e38", "24481f")], fall)
    for _ in range(26):
        at = (canvas.between(0, canvas.aspect), canvas.between(0, 1))
        size = canvas.between(0.03, 0.11)
        colour = hour.on(canvas.pick(("d9e6a4", "9dbf62", "3f6b2e", "6d9646")))
        canvas.oval(at, size, size, colour, alpha=canvas.between(0.08, 0.26))
