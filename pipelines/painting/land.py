"""What lies on the ground: mountains, hills, meadows, sea, sand, snow, dunes, fields and roads."""

import cv2
import numpy as np

from pipelines.painting.canvas import Canvas, Floats, ink, mix, ramp
from pipelines.painting.light import Light


def mountains(canvas: Canvas, hour: Light, height: float, rough: float, depth: float, snow: float) -> Floats:
    """A rocky range with snow down to the share `snow` of its height; gives its skyline."""
    line = canvas.line(height, rough, 0.45, 7)
    rock = mix(hour.on("6b6a75", depth), hour.on("8d8078", depth), canvas.between(0, 1))
    # folded noise has sharp ridges
    folded = np.abs(canvas.noise(0.34, 5, 0.7, 0.5))
    relief = np.asarray(0.55 + 0.55 * canvas.noise(0.3, 5, 0.8, 0.55) - 1.1 * folded, np.float32)
    slope = 0.5 - 2.5 * canvas.relief(relief, max(2, canvas.h // 60), hour.side)
    flank = cv2.GaussianBlur(np.gradient(line)[None, :], (0, 0), canvas.h / 70)[0]
    slope += np.clip(flank * canvas.h * hour.side * 0.45, -0.35, 0.35)[None, :]
    slope = np.clip(slope, 0, 1)
    ground = mix(rock * 0.58, rock * 1.12, slope)
    if snow > 0:
        fallen = np.clip((line[None, :] + snow * rough * 2.2 + 0.05 * relief - canvas.y) * 18, 0, 1)
        white = mix(hour.on("8fa6cc", depth * 0.7), hour.on("fdfdff", depth * 0.7), np.clip(slope * 1.5 - 0.1, 0, 1))
        ground = ground + (fallen * np.clip(1.25 - np.abs(relief) * 0.45, 0, 1))[..., None] * (white - ground)
    foot = np.clip((canvas.y - line[None, :]) / 0.45, 0, 1) * 0.55
    canvas.below(line, mix(ground, ink(hour.haze), foot))
    return line


def hills(canvas: Canvas, hour: Light, height: float, rough: float, depth: float, code: str) -> Floats:
    """A rolling hill with woods and fields hinted at; gives its skyline."""
    line = canvas.line(height, rough, 0.8, 3)
    patch = canvas.noise(0.12, 5, 2.5)
    sheen = np.clip(0.55 - (canvas.y - line[None, :]) * 2.2, 0, 1)
    colour = hour.on(code, depth)
    ground = mix(colour * 0.72, np.clip(colour * 1.15, 0, 1), np.clip(0.45 + 0.28 * patch + 0.4 * sheen, 0, 1))
    canvas.below(line, ground, 0.006)
    return line


def meadow(canvas: Canvas, hour: Light, line: Floats, dry: float = 0.0, blades: bool = True) -> None:
    """Grass from a skyline to the lower edge; `dry` 0 spring green .. 1 straw."""
    patch = canvas.noise(0.2, 5, 3.0)
    near = np.clip((canvas.y - line[None, :]) / max(0.05, 1 - float(line.mean())), 0, 1)
    far = mix(hour.on("93ad5c", 0.18), hour.on("c9b667", 0.15), dry)
    close = mix(hour.on("3f6b2b"), hour.on("8f7a38"), dry)
    ground = mix(far, close, np.clip(near * 0.95 + 0.16 * patch, 0, 1))
    canvas.below(line, ground, 0.006)
    if blades:
        grass(canvas, hour, float(line.max()), dry)


def grass(canvas: Canvas, hour: Light, top: float, dry: float = 0.0, count: int = 2600) -> None:
    """Blades of grass, small at `top` and tall at the lower edge."""
    deep = canvas.rng.beta(1.3, 1.0, count).astype(np.float32)
    deep.sort()
    y = top + (1 - top) * deep + 0.015
    x = canvas.rng.uniform(-0.02, canvas.aspect + 0.02, count)
    tall = (0.006 + 0.05 * deep**1.5) * canvas.rng.uniform(0.5, 1.3, count) * (0.5 + (1 - top))
    lean = canvas.rng.normal(0.12 * hour.side, 0.3, count) * tall
    fresh = ["2f5a22", "456f2b", "5d8836", "7ca347", "9dbb5a"]
    straw = ["6f5f2b", "8b7836", "a89245", "c2ab58", "d6c274"]
    inks = [hour.far(mix(ink(a), ink(b), dry)) for a, b in zip(fresh, straw, strict=True)]
    starts = np.stack([x, y], 1).astype(np.float32)
    ends = np.stack([x + lean, y - tall], 1).astype(np.float32)
    half = int((deep < 0.6).sum())
    canvas.strokes(starts[:half], ends[:half], inks)
    canvas.strokes(starts[half:], ends[half:], inks, 2)


def sea(canvas: Canvas, hour: Light, horizon: float, bottom: float = 1.0) -> None:
    """Water from the horizon down to `bottom`: deep far off, greener near, waves that grow towards us."""
    top = int(horizon * canvas.h)
    y = canvas.y[top:]
    near = np.clip((y - horizon) / (bottom - horizon), 0, 1)
    mirror = ramp([ink(code) for code in hour.sky], 1 - near * 0.75)
    body = ramp([hour.on("2c5f8a"), hour.on("1f6690"), hour.on("2f8c9a"), hour.on("6fbcb2")], near)
    calm = mix(body, np.broadcast_to(mirror, body.shape), 0.62 if 0 <= hour.sun < 0.1 else 0.32)
    # rows are spread so that waves are thin lines far off and broad ones near
    waves = canvas.noise(0.05, 3, 6.0, 0.6, canvas.h)
    rows = np.clip((np.sqrt(np.clip(near[:, 0], 0.0, 1)) * (canvas.h - 1)), 0, canvas.h - 1).astype(int)
    wave = waves[rows] * (0.35 + 0.65 * near)
    crest, trough = np.clip(wave - 0.25, 0, 1), np.clip(-wave - 0.1, 0, 1)
    ground = calm * (1 - 0.3 * trough)[..., None]
    ground = mix(np.asarray(ground, np.float32), mix(ink(hour.sky[-1]), ink(hour.cloud), 0.5), crest * 0.5)
    canvas.rgb[top:] = ground


def glitter(canvas: Canvas, hour: Light, horizon: float, x: float, bottom: float = 1.0, count: int = 420) -> None:
    """The sun's or the moon's path on water."""
    deep = canvas.rng.random(count) ** 1.4
    y = horizon + 0.004 + (bottom - horizon) * deep
    spread = 0.015 + 0.1 * deep
    places = x + canvas.rng.normal(0, 1, count) * spread
    long = 0.004 + 0.022 * deep * canvas.rng.random(count)
    starts = np.stack([places - long, y], 1).astype(np.float32)
    ends = np.stack([places + long, y], 1).astype(np.float32)
    pale = ink("d5e0f4") if hour.sun > 0.5 else ink("ffe9b0")
    canvas.strokes(starts, ends, [pale, mix(pale, ink(hour.sky[-1]), 0.4)], 1)


def beach(canvas: Canvas, hour: Light, line: Floats) -> None:
    """Sand from a waterline to the lower edge: foam, the wet edge, ripples and a fine grain."""
    foam = np.clip(0.5 + canvas.noise(0.05, 4, 2.0), 0, 1)
    away = canvas.y - line[None, :]
    canvas.cover(np.clip(1 - np.abs(away + 0.035) / 0.02, 0, 1) * foam * 0.7, hour.on("ffffff"))
    grain = canvas.rng.standard_normal((canvas.h, canvas.w), dtype=np.float32)
    ripple = canvas.noise(0.06, 4, 5.0)
    dry = mix(hour.on("d9bd8a"), hour.on("f3e0b6"), np.clip(0.5 + 0.3 * ripple + 0.035 * grain, 0, 1))
    wet = hour.on("9c8058")
    ground = mix(wet, hour.on("c2a571"), np.clip(away / 0.07, 0, 1))
    ground += np.clip((away - 0.05) / 0.06, 0, 1)[..., None] * (dry - ground)
    canvas.below(line, ground, 0.006)
    edge = np.clip(1 - np.abs(away) / (0.006 + 0.014 * foam), 0, 1) ** 0.7
    canvas.cover(np.asarray(edge * 0.95, np.float32), hour.on("ffffff"))


def snowfield(canvas: Canvas, hour: Light, line: Floats) -> None:
    """Snow from a skyline to the lower edge, blue in its hollows."""
    swell = canvas.noise(0.4, 4, 2.6)
    step = max(2, canvas.h // 60)
    lit = np.clip(0.66 - 1.6 * canvas.relief(swell, step, hour.side), 0, 1)
    canvas.below(line, mix(hour.on("a3bbdf"), hour.on("fbfcff"), lit), 0.006)


def dunes(canvas: Canvas, hour: Light, line: Floats, depth: float) -> None:
    """One dune: a sharp crest, a lit face, a shaded face and wind ripples."""
    swell = np.sin((canvas.y * 55 + 5 * canvas.noise(0.25, 3, 2.0)) * (1 + canvas.y))
    crest = canvas.line(0, 0.16, 0.5, 2)
    shaded = np.clip((canvas.y - line[None, :] - 0.5 * np.abs(crest)[None, :]) * 9 + 0.3, 0, 1)
    lit, dark = hour.on("eebf7c", depth), hour.on("b3743c", depth)
    turned = mix(dark, lit, np.clip(np.gradient(line) * canvas.h * hour.side * 0.9 + 0.62, 0, 1))
    ground = mix(np.broadcast_to(turned[None], (canvas.h, canvas.w, 3)), lit, shaded * 0.6)
    ground = np.asarray(ground * (1 + 0.035 * swell * (1 - depth))[..., None], np.float32)
    canvas.below(line, ground, 0.004)


def lake(canvas: Canvas, hour: Light, shore: float, bottom: float = 1.0) -> None:
    """Still water that mirrors whatever was painted above `shore`."""
    top, end = int(shore * canvas.h), int(bottom * canvas.h)
    rows = np.arange(end - top)
    source = np.clip(top - 1 - (rows * canvas.between(0.85, 1.0)).astype(int), 0, canvas.h - 1)
    wobble = canvas.noise(0.02, 3, 8.0, 0.6, end - top)
    shift = (wobble * (1 + rows[:, None] * 0.02)).astype(int) * 2
    columns = np.clip(np.arange(canvas.w)[None, :] + shift, 0, canvas.w - 1)
    lifted = np.clip(source[:, None] + (wobble * rows[:, None] * 0.03).astype(int), 0, top - 1)
    mirror = canvas.rgb[lifted, columns]
    deep = np.clip(rows / max(1, end - top), 0, 1)[:, None]
    body = np.broadcast_to(hour.on("2a5a6c"), mirror.shape)
    water = mix(mirror * 0.92, body, 0.16 + 0.3 * deep)
    streak = np.clip(canvas.noise(0.03, 2, 14.0, 0.5, end - top) - 0.55, 0, 1)
    canvas.rgb[top:end] = mix(np.asarray(water, np.float32), ink(hour.sky[-2]), streak * 0.6)


def road(canvas: Canvas, hour: Light, top: float, x: float, width: float, code: str) -> None:
    """A road or path that winds from the lower edge to a vanishing place at (x, top)."""
    t = np.linspace(0, 1, 60)
    y = 1.02 - (1.02 - top) * t
    start = canvas.aspect * canvas.between(0.25, 0.75)
    bend = canvas.between(0.05, 0.22) * (1 if canvas.chance(0.5) else -1)
    middle = start + (x - start) * t + bend * np.sin(t * 5.5) * (1 - t)
    half = width * (1 - t) ** 1.7 + 0.004
    for grow, colour in ((1.25, hour.on("6c6a3c")), (1.0, hour.on(code))):
        left, right = np.stack([middle - half * grow, y], 1), np.stack([middle + half * grow, y], 1)
        canvas.polygon(np.concatenate([left, right[::-1]]), colour, colour * np.float32(0.86))


def furrows(canvas: Canvas, hour: Light, top: float, code: str, soil: str, rows: int = 13) -> None:
    """Rows of a crop (lavender, wheat, tulips) that run to a vanishing place."""
    x0 = canvas.aspect * canvas.between(0.3, 0.7)
    for i in np.linspace(-1.9, 1.9, rows):
        count = 190
        t = np.sort(canvas.rng.random(count) ** 0.55)
        y = top + (1.06 - top) * t
        spread = 0.004 + 0.035 * t
        x = x0 + i * 0.9 * (0.1 + 0.9 * t) + canvas.rng.normal(0, 0.5, count) * spread
        up = canvas.rng.random(count)
        ground = mix(hour.on(soil), hour.on(code), 0.25 + 0.75 * up)
        bright = (0.72 + 0.45 * up)[:, None]
        canvas.dabs(
            np.stack([x, y - up * spread * 1.3], 1),
            0.003 + 0.011 * t,
            np.asarray(np.clip(ground * bright, 0, 1), np.float32),
        )
