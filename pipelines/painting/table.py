"""Still lifes: a wall, a table, fruit, bowls and vases."""

import numpy as np

from pipelines.painting.canvas import Canvas, Floats, Place, ink, mix, ramp
from pipelines.painting.light import Light

SKINS: dict[str, tuple[str, ...]] = {
    "orange": ("7c3206", "c9600c", "f28a17", "fcab3d"),
    "apple": ("4a0c10", "9c1a1c", "cf2f26", "e8604a"),
    "green apple": ("3d5712", "6f951f", "9cc034", "c9de6d"),
    "lemon": ("8f6a08", "d3a711", "f4d52f", "fdee7e"),
    "peach": ("8c3d22", "d8764a", "f3ab76", "fbd0a3"),
    "plum": ("190d24", "3a2148", "5c3d70", "8a70a3"),
    "grape": ("1d0d26", "43204f", "6b3a76", "a279ac"),
    "green grape": ("4a5a1a", "83993a", "b3c665", "dce6a4"),
}


def room(canvas: Canvas, hour: Light, edge: float) -> None:
    """A plastered wall with light falling across it, over a table's far edge at `edge`."""
    wall = canvas.pick(("dcc7a2", "cdb48e", "b89f7c", "a3906f", "e6d8b8"))
    lit = ink(wall)
    fall = np.clip(
        0.62 + 0.9 * hour.side * (canvas.x / canvas.aspect - 0.5) - 0.3 * canvas.y + 0.07 * canvas.noise(0.3, 5), 0, 1
    )
    canvas.rgb[:] = mix(lit * 0.5, np.clip(lit * 1.12, 0, 1), fall)
    if canvas.chance(0.4):
        _window(canvas, hour, edge)
    if canvas.chance(0.6):
        _wood(canvas, hour, edge)
    else:
        _cloth(canvas, hour, edge)


def _window(canvas: Canvas, hour: Light, edge: float) -> None:
    middle = canvas.aspect * (0.5 + hour.side * 0.3)
    left, right, top, bottom = middle - 0.2, middle + 0.2, -0.05, edge * 0.72
    sky = [ink("5e9bd6"), ink("9cc9ec"), ink("dcebf2")]
    canvas.polygon([(left, top), (right, top), (right, bottom), (left, bottom)], sky[0], sky[2], np.pi / 2)
    hill = np.linspace(left, right, 20)
    rise = bottom * (0.78 + 0.06 * np.sin(hill * 14 + canvas.between(0, 6)))
    canvas.polygon(
        [*zip(hill, rise, strict=True), (right, bottom), (left, bottom)], ink("86a858"), ink("4f7a38"), np.pi / 2
    )
    frame = ink("e9dfcb")
    for x in (left, middle, right):
        canvas.limb([(x, top), (x, bottom)], 0.024, frame)
    for y in (bottom * 0.42, bottom):
        canvas.limb([(left, y), (right, y)], 0.024 if y < bottom else 0.04, frame)


def _wood(canvas: Canvas, hour: Light, edge: float) -> None:
    tone = canvas.pick(("8a5a34", "6f4527", "a3713f"))
    grain = canvas.noise(0.03, 4, 22.0, 0.6)
    deep = np.clip((canvas.y - edge) / (1 - edge), 0, 1)
    lit = 0.45 + 0.22 * grain + 0.25 * (0.5 + hour.side * (canvas.x / canvas.aspect - 0.5)) - 0.1 * deep
    line = np.full(canvas.w, edge, np.float32)
    canvas.below(line, mix(ink(tone) * 0.55, np.clip(ink(tone) * 1.3, 0, 1), np.clip(lit, 0, 1)))
    for t in (0.16, 0.42, 0.78):
        y = edge + (1 - edge) * t
        canvas.limb([(0, y), (canvas.aspect, y)], 0.004, ink(tone) * np.float32(0.45))
    canvas.limb([(0, edge), (canvas.aspect, edge)], 0.006, ink(tone) * np.float32(0.5))


def _cloth(canvas: Canvas, hour: Light, edge: float) -> None:
    fold = canvas.noise(0.5, 3, 0.45)
    lit = np.clip(0.72 - 0.8 * canvas.relief(fold, max(3, canvas.h // 40), hour.side), 0, 1)
    line = np.full(canvas.w, edge, np.float32)
    canvas.below(line, mix(ink("a9aab2"), ink("fbf7ee"), lit))


def shadow(canvas: Canvas, hour: Light, middle: Place, rx: float, ry: float) -> None:
    """The soft shadow a thing throws on the table, away from the light."""
    x, y = middle
    canvas.glow((x - hour.side * rx * 0.75, y + ry * 0.78), rx * 1.75, ry * 0.5, ink("1f130b"), 0.75)
    canvas.glow((x, y + ry * 0.92), rx * 0.95, ry * 0.22, ink("120a06"), 0.8)


def fruit(canvas: Canvas, hour: Light, kind: str, middle: Place, size: float, shaded: bool = True) -> None:
    """One round fruit with its stalk, dimple, pores or streaks."""
    x, y = middle
    rx, ry = size, size * {"lemon": 0.84, "apple": 0.94, "green apple": 0.95}.get(kind, 1.0)
    if kind == "lemon":
        rx *= 1.15
    if shaded:
        shadow(canvas, hour, middle, rx, ry)
    inks = [ink(c) for c in SKINS[kind]]
    if kind == "lemon":
        canvas.ball((x + hour.side * rx * 0.98, y + 0.1 * ry), rx * 0.17, ry * 0.17, inks, hour.side, 0.2)
    canvas.ball(middle, rx, ry, inks, hour.side, 0.35 if kind in ("orange", "peach") else 0.62)
    if kind in ("orange", "lemon"):
        _pores(canvas, inks, middle, rx, ry)
    if kind in ("apple", "green apple"):
        _apple(canvas, kind, middle, size)
    if kind == "orange" and canvas.chance(0.6):
        star = (x + canvas.between(-0.3, 0.3) * rx, y - 0.72 * ry)
        canvas.oval(star, 0.09 * rx, 0.06 * ry, ink("56702a"), ink("2f451a"))
    if kind in ("orange", "apple", "green apple"):
        canvas.note("orange" if kind == "orange" else "apple", x - rx, y - ry, x + rx, y + ry)


def _pores(canvas: Canvas, inks: list[Floats], middle: Place, rx: float, ry: float) -> None:
    count = 60
    angle, away = canvas.rng.uniform(0, 6.3, count), np.sqrt(canvas.rng.random(count)) * 0.88
    dots = np.stack([np.cos(angle) * away * rx, np.sin(angle) * away * ry], 1) + middle
    for dot in dots:
        canvas.oval((float(dot[0]), float(dot[1])), rx * 0.022, ry * 0.018, inks[1], alpha=0.32)


def _apple(canvas: Canvas, kind: str, middle: Place, size: float) -> None:
    x, y = middle
    streak = ink("f2b95c") if kind == "apple" else ink("dceca0")
    for angle in np.linspace(0.2, 2.9, 15) + canvas.rng.normal(0, 0.08, 15):
        s = np.linspace(0.1, canvas.between(0.45, 0.85), 8)
        path = np.stack(
            [
                x - np.cos(angle) * size * 0.86 * np.sin(s * 1.6),
                y - size * 0.7 + size * 1.25 * s * np.abs(np.sin(angle)) ** 0.3,
            ],
            1,
        )
        inner = np.stack([path[:, 0] + size * 0.018, path[:, 1]], 1)
        canvas.polygon(np.concatenate([path, inner[::-1]]), streak, alpha=0.2)
    canvas.glow((x, y - size * 0.74), size * 0.36, size * 0.17, ink("2e1a08"), 0.8)
    canvas.limb(
        [(x, y - size * 0.72), (x + size * 0.05, y - size * 0.95), (x + size * 0.13, y - size * 1.12)],
        size * 0.07,
        ink("4a301a"),
    )
    if canvas.chance(0.45):
        s = np.linspace(0, 1, 10)
        leaf = (
            np.stack([s, -0.35 * np.sin(np.pi * s) - 0.1 * s], 1),
            np.stack([s, 0.1 * np.sin(np.pi * s) - 0.1 * s], 1),
        )
        places = np.concatenate([leaf[0], leaf[1][::-1]]) * size * 0.7 + [x + size * 0.07, y - size * 0.95]
        canvas.polygon(places, ink("8ab14a"), ink("3a6424"), 1.2)


def bananas(canvas: Canvas, hour: Light, middle: Place, size: float, count: int) -> None:
    """A hand of bananas, curved, ridged, with dark tips."""
    x, y = middle
    canvas.glow((x - hour.side * size * 0.1, y + size * 0.34), size * 1.15, size * 0.2, ink("1f130b"), 0.75)
    way = 1 if canvas.chance(0.5) else -1
    turn = canvas.between(-0.2, 0.15)
    for i in range(count):
        spread = (i - (count - 1) / 2) * 0.24
        t = np.linspace(0, 1, 30)
        angle = np.pi * (0.02 + 0.8 * t) + turn + spread * 0.5
        radius = size * (0.8 - 0.08 * i)
        centre = np.array([x + way * size * 0.02 * i, y - size * 0.42 + size * 0.06 * i])
        spine = np.stack([-np.cos(angle) * radius * way, np.sin(angle) * radius * 0.8], 1) + centre
        out = np.stack([-np.cos(angle) * way, np.sin(angle)], 1)
        half = size * 0.15 * np.sin(np.pi * (0.08 + 0.84 * t)) ** 0.55 * (1 - 0.1 * i)
        bands = np.linspace(-1, 1, 8)
        inks = ramp([ink("a87710"), ink("e2b41c"), ink("f9da45"), ink("fff09a"), ink("e9bf28")], np.linspace(1, 0, 7))
        for a, b, colour in zip(bands[:-1], bands[1:], inks, strict=True):
            inner, outer = spine + out * (half * a)[:, None], spine + out * (half * b + size * 0.004)[:, None]
            canvas.polygon(np.concatenate([inner, outer[::-1]]), colour, colour * np.float32(0.9))
        canvas.limb(spine + out * (half * 0.25)[:, None], size * 0.008, ink("c4951a"))
        stalk = spine[0] + (spine[0] - spine[2]) * 1.3
        canvas.limb([spine[1], stalk], size * 0.085, ink("a8a03a"))
        canvas.limb([stalk, stalk + (spine[0] - spine[2]) * 0.3], size * 0.09, ink("4a3a1a"))
        canvas.oval((float(spine[-1][0]), float(spine[-1][1])), size * 0.045, size * 0.045, ink("3a2a14"))
        for _ in range(3):
            at = spine[int(canvas.rng.integers(5, 25))] + out[10] * size * canvas.between(-0.06, 0.06)
            canvas.oval((float(at[0]), float(at[1])), size * 0.016, size * 0.01, ink("7a5416"), alpha=0.6)
    canvas.note("banana", x - size, y - size * 0.6, x + size, y + size * 0.4)


def grapes(canvas: Canvas, hour: Light, middle: Place, size: float, kind: str) -> None:
    """A bunch of grapes lying on its side."""
    x, y = middle
    canvas.glow((x - hour.side * size * 0.2, y + size * 0.5), size * 1.2, size * 0.26, ink("1f130b"), 0.75)
    inks = [ink(c) for c in SKINS[kind]]
    count = 44
    t = canvas.rng.random(count)
    places = np.stack([(t - 0.5) * 1.7 * size, canvas.rng.normal(0, 0.25, count) * (1.1 - t) * size + 0.12 * size], 1)
    canvas.limb([(x - size * 0.8, y), (x - size * 1.1, y - size * 0.25)], size * 0.05, ink("6b5a2c"))
    for place in places[np.argsort(places[:, 1])]:
        canvas.ball((x + float(place[0]), y + float(place[1])), size * 0.155, size * 0.155, inks, hour.side, 0.6)


def bowl(canvas: Canvas, hour: Light, middle: Place, size: float, front: bool) -> None:
    """A bowl's far inside first, its outside (`front`) once it has been filled."""
    x, y = middle
    kind = int(size * 1e6) % 3  # the same bowl when its front is painted
    clay = [
        ink(c)
        for c in (("6d7f99", "c6d2e0", "f6f8fa"), ("5a2f1a", "9c5a34", "c98a5a"), ("3d2a1c", "7a5435", "a87c50"))[kind]
    ]
    if not front:
        shadow(canvas, hour, (x, y + 0.3 * size), size * 0.85, size * 0.42)
        canvas.oval((x, y), size, size * 0.24, clay[0], clay[1], turn=0 if hour.side > 0 else np.pi)
        return
    s = np.linspace(0, np.pi, 40)
    rim = np.stack([x - np.cos(s) * size, y + np.sin(s) * size * 0.24], 1)
    body = np.stack([x - np.cos(s) * size * (1 - 0.25 * np.sin(s)), y + np.sin(s) ** 0.7 * size * 0.66], 1)
    ends = (clay[0], clay[2]) if hour.side > 0 else (clay[2], clay[0])
    canvas.polygon(np.concatenate([rim, body[::-1]]), *ends, turn=0.25)
    canvas.limb(rim, size * 0.05, clay[2])
    if kind == 0:
        band = np.add(rim, [0, size * 0.14])
        canvas.limb(np.clip(band, [x - size * 0.93, 0], [x + size * 0.93, 9]), size * 0.05, ink("2f56a0"))
    canvas.note("bowl", x - size, y - size * 0.24, x + size, y + size * 0.66)


def vase(canvas: Canvas, hour: Light, foot: Place, size: float) -> Place:
    """A vase; gives the middle of its mouth."""
    x, y = foot
    shadow(canvas, hour, (x, y - 0.18 * size), size * 0.34, size * 0.2)
    t = np.linspace(0, 1, 30)
    half = size * (0.2 + 0.16 * np.sin(np.pi * (t * 1.15 + 0.02)) - 0.06 * t)
    colours = (("2c4a86", "8fb0dd"), ("6a3a22", "d19468"), ("8f959c", "f8f8f6"), ("2b5a54", "8fc4b4"))
    dark, lit = (ink(c) for c in colours[int(canvas.rng.integers(len(colours)))])
    for a in np.linspace(-1, 1, 33)[:-1]:
        b = a + 1 / 16
        left = np.stack([x + half * a, y - size * t], 1)
        right = np.stack([x + half * b + 0.002, y - size * t], 1)
        shade = float(np.clip(0.5 + 0.55 * np.sin((a + 0.1) * 1.5 * hour.side + 0.25), 0, 1))
        canvas.polygon(np.concatenate([left, right[::-1]]), mix(dark, lit, shade))
    canvas.oval((x, y - size), float(half[-1]), size * 0.045, dark * np.float32(0.6))
    canvas.note("vase", x - 0.36 * size, y - size, x + 0.36 * size, y)
    return x, y - size
