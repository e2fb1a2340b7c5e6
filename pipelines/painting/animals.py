"""Animals, simply painted: a cat, a dog, sheep, cows, gulls."""

import numpy as np

from pipelines.painting.canvas import Canvas, Floats, Place, mix, ramp
from pipelines.painting.light import Light


def _fur(canvas: Canvas, middle: Place, size: Place, inks: list[Floats], side: float, count: int, long: float) -> None:
    """A furry oval: shaded strokes that run downwards and outwards."""
    canvas.ball(middle, *size, inks, side, 0.0)
    angle, away = canvas.rng.uniform(0, 2 * np.pi, count), np.sqrt(canvas.rng.random(count))
    at = np.stack([np.cos(angle) * away, np.sin(angle) * away], 1)
    lit = np.clip(0.45 + 0.3 * side * at[:, 0] - 0.36 * at[:, 1] + canvas.rng.normal(0, 0.13, count), 0, 1)
    starts = at * np.array(size) * 0.96 + middle
    ends = starts + (at * 0.5 + [0, 0.55]) * long + canvas.rng.normal(0, 0.2, (count, 2)) * long
    order = np.argsort(lit)
    for part in np.array_split(order, 7):
        colour = ramp(inks, float(lit[part].mean()))
        canvas.strokes(starts[part].astype(np.float32), ends[part].astype(np.float32), [colour])


COATS: dict[str, tuple[str, ...]] = {
    "ginger": ("5f2c10", "a85a22", "db8c42", "f3bd7c"),
    "golden": ("6b4218", "ab7431", "d9a860", "f3d6a0"),
    "brown": ("24140c", "4a2c1a", "754b2e", "a87a52"),
    "white": ("7f8592", "bfc3ca", "e8e8e8", "ffffff"),
    "black": ("0d0d10", "202126", "3a3c44", "6b6e78"),
}


def cat(canvas: Canvas, hour: Light, foot: Place, size: float, coat: str) -> None:
    """A cat sitting, looking at us."""
    x, y = foot
    inks = [hour.on(c) for c in COATS[coat]]
    canvas.glow((x - hour.side * 0.15 * size, y - 0.02 * size), 0.52 * size, 0.1 * size, hour.on("14100c"), 0.75)
    way = 1 if canvas.chance(0.5) else -1
    s = np.linspace(0, 1, 16)
    tail = np.stack([x + way * size * (0.2 + 0.25 * np.sin(s * 2.6)), y - 0.05 * size - 0.12 * size * s**2], 1)
    canvas.limb(tail, 0.075 * size, inks[1])
    canvas.limb(tail - [0, 0.012 * size], 0.035 * size, inks[2])
    _fur(canvas, (x, y - 0.24 * size), (0.26 * size, 0.25 * size), inks, hour.side, 260, 0.035 * size)
    _fur(canvas, (x, y - 0.42 * size), (0.18 * size, 0.22 * size), inks, hour.side, 200, 0.035 * size)
    chest = [hour.on(c) for c in COATS["white"]]
    _fur(
        canvas,
        (x, y - 0.36 * size),
        (0.09 * size, 0.16 * size),
        [mix(a, b, 0.5) for a, b in zip(inks, chest, strict=True)],
        hour.side,
        110,
        0.03 * size,
    )
    for side in (-1, 1):
        canvas.limb(
            [(x + side * 0.075 * size, y - 0.28 * size), (x + side * 0.08 * size, y - 0.04 * size)],
            0.085 * size,
            inks[2],
        )
        canvas.oval((x + side * 0.085 * size, y - 0.03 * size), 0.065 * size, 0.038 * size, inks[3], inks[1], turn=1.4)
    head = (x, y - 0.72 * size)
    for side in (-1, 1):
        ear = np.array([(0.06, -0.11), (0.155, -0.265), (0.18, -0.04)]) * size * [side, 1] + head
        canvas.polygon(ear, inks[2], inks[1], 1.0)
        inner = np.array([(0.09, -0.12), (0.148, -0.215), (0.163, -0.07)]) * size * [side, 1] + head
        canvas.polygon(inner, hour.on("c98d80"))
    _fur(canvas, head, (0.19 * size, 0.16 * size), inks, hour.side, 240, 0.025 * size)
    if coat == "ginger":
        _stripes(canvas, (x, y), size, inks[0])
    _muzzle(canvas, hour, head, size, chest)
    canvas.note("cat", x - 0.45 * size, y - size, x + 0.45 * size, y)


def _stripes(canvas: Canvas, foot: Place, size: float, dark: Floats) -> None:
    x, y = foot
    colour = dark * np.float32(1.25)
    for dx in (-0.05, 0.0, 0.05):
        canvas.limb([(x + dx * size, y - 0.87 * size), (x + dx * size * 0.8, y - 0.79 * size)], 0.014 * size, colour)
    for side in (-1, 1):
        for t in (0.14, 0.2, 0.26, 0.33, 0.41, 0.49):
            wide = 0.25 if t < 0.36 else 0.17
            s = np.linspace(0.5, 0.98, 6)
            band = np.stack([x + side * wide * size * s, y - t * size + 0.05 * size * (1 - s) + 0.02 * size], 1)
            canvas.limb(band, 0.016 * size, colour)
        for t in (0.68, 0.73):
            canvas.limb(
                [(x + side * 0.185 * size, y - t * size), (x + side * 0.12 * size, y - (t + 0.012) * size)],
                0.012 * size,
                colour,
            )


def _muzzle(canvas: Canvas, hour: Light, head: Place, size: float, chest: list[Floats]) -> None:
    x, y = head
    for side in (-1, 1):
        canvas.ball((x + side * 0.04 * size, y + 0.075 * size), 0.055 * size, 0.045 * size, chest, hour.side, 0.0)
    for side in (-1, 1):
        eye = (x + side * 0.082 * size, y - 0.015 * size)
        canvas.oval(eye, 0.043 * size, 0.036 * size, hour.on("1c140c"))
        canvas.oval(eye, 0.036 * size, 0.03 * size, hour.on("b7c04a"), hour.on("7c9a2c"), turn=1.5)
        canvas.oval(eye, 0.012 * size, 0.028 * size, hour.on("0a0806"))
        canvas.oval((eye[0] + 0.01 * size, eye[1] - 0.012 * size), 0.008 * size, 0.008 * size, hour.on("ffffff"))
        for slope in (-0.01, 0.01, 0.03):
            canvas.strokes(
                np.array([[x + side * 0.06 * size, y + 0.07 * size]], np.float32),
                np.array([[x + side * 0.25 * size, y + (0.06 + slope) * size]], np.float32),
                [hour.on("f4efe6")],
            )
    nose = [(x - 0.022 * size, y + 0.04 * size), (x + 0.022 * size, y + 0.04 * size), (x, y + 0.065 * size)]
    canvas.polygon(nose, hour.on("c4736c"))
    canvas.limb([(x, y + 0.06 * size), (x, y + 0.085 * size)], 0.007 * size, hour.on("4a2a20"))


def dog(canvas: Canvas, hour: Light, foot: Place, size: float, coat: str) -> None:
    """A dog sitting, tongue out."""
    x, y = foot
    inks = [hour.on(c) for c in COATS[coat]]
    long = 0.05 * size
    canvas.glow((x - hour.side * 0.15 * size, y - 0.02 * size), 0.5 * size, 0.1 * size, hour.on("14160c"), 0.75)
    way = 1 if canvas.chance(0.5) else -1
    s = np.linspace(0, 1, 10)
    tail = np.stack([x + way * size * (0.22 + 0.22 * s), y - 0.1 * size - 0.2 * size * s**2], 1)
    canvas.limb(tail, 0.07 * size, inks[1])
    _fur(canvas, (x, y - 0.2 * size), (0.26 * size, 0.21 * size), inks, hour.side, 260, long)
    _fur(canvas, (x, y - 0.4 * size), (0.19 * size, 0.25 * size), inks, hour.side, 260, long)
    for side in (-1, 1):
        canvas.limb(
            [(x + side * 0.09 * size, y - 0.34 * size), (x + side * 0.1 * size, y - 0.04 * size)], 0.1 * size, inks[2]
        )
        canvas.oval((x + side * 0.105 * size, y - 0.03 * size), 0.075 * size, 0.04 * size, inks[3], inks[1], turn=1.4)
    head = (x, y - 0.75 * size)
    _fur(canvas, head, (0.165 * size, 0.17 * size), inks, hour.side, 200, long * 0.7)
    for side in (-1, 1):
        _fur(
            canvas,
            (x + side * 0.165 * size, y - 0.71 * size),
            (0.065 * size, 0.15 * size),
            [c * np.float32(0.8) for c in inks],
            hour.side,
            80,
            long * 0.8,
        )
    tongue = [
        (x - 0.035 * size, y - 0.62 * size),
        (x + 0.035 * size, y - 0.62 * size),
        (x + 0.03 * size, y - 0.545 * size),
        (x - 0.025 * size, y - 0.545 * size),
    ]
    canvas.polygon(tongue, hour.on("dd7f80"), hour.on("a84a52"), 1.5)
    light = [mix(c, hour.on("ffffff"), 0.25) for c in inks]
    canvas.ball((x, y - 0.68 * size), 0.095 * size, 0.08 * size, light, hour.side, 0.0)
    canvas.oval((x, y - 0.725 * size), 0.042 * size, 0.03 * size, hour.on("14100f"), hour.on("3c3433"), turn=-1.5)
    canvas.limb([(x, y - 0.7 * size), (x, y - 0.65 * size)], 0.01 * size, hour.on("2a1c14"))
    for side in (-1, 1):
        eye = (x + side * 0.07 * size, y - 0.8 * size)
        canvas.oval(eye, 0.026 * size, 0.026 * size, hour.on("1a110b"))
        canvas.oval((eye[0] + 0.008 * size, eye[1] - 0.009 * size), 0.008 * size, 0.008 * size, hour.on("ffffff"))
        canvas.limb(
            [(eye[0] - 0.025 * size, eye[1] - 0.045 * size), (eye[0] + 0.025 * size, eye[1] - 0.045 * size)],
            0.012 * size,
            inks[1],
        )
    canvas.note("dog", x - 0.4 * size, y - size, x + 0.44 * size, y)


def sheep(canvas: Canvas, hour: Light, foot: Place, size: float) -> None:
    """A sheep grazing or looking up."""
    x, y = foot
    way = 1 if canvas.chance(0.5) else -1
    wool = [hour.on(c) for c in ("8c8577", "c4bca8", "ebe4d4", "fffaf0")]
    face = hour.on(canvas.pick(("2a2522", "2a2522", "d8cbb8")))
    canvas.glow((x - hour.side * 0.1 * size, y), 0.6 * size, 0.1 * size, hour.on("16200f"), 0.75)
    for px in (-0.26, -0.14, 0.14, 0.26):
        canvas.limb([(x + px * size, y - 0.25 * size), (x + px * size, y)], 0.055 * size, face)
    count = 120
    angle, away = canvas.rng.uniform(0, 6.3, count), np.sqrt(canvas.rng.random(count))
    at = np.stack([np.cos(angle) * away, np.sin(angle) * away], 1)
    lit = np.clip(0.5 + 0.25 * hour.side * at[:, 0] - 0.45 * at[:, 1] + canvas.rng.normal(0, 0.1, count), 0, 1)
    order = np.argsort(lit)
    canvas.oval((x, y - 0.4 * size), 0.38 * size, 0.22 * size, wool[1])
    canvas.dabs(
        (at * [0.37 * size, 0.22 * size] + [x, y - 0.4 * size])[order],
        np.full(count, 0.055 * size),
        ramp(wool, lit)[order],
    )
    drop = 0.2 if canvas.chance(0.5) else -0.08
    head = (x + way * 0.45 * size, y - (0.45 - drop) * size)
    canvas.limb([(x + way * 0.3 * size, y - 0.45 * size), head], 0.13 * size, wool[2])
    canvas.oval(head, 0.1 * size, 0.075 * size, face, face * np.float32(0.7), tilt=way * 0.6)
    canvas.oval((head[0] - way * 0.07 * size, head[1] - 0.05 * size), 0.05 * size, 0.025 * size, face, tilt=-way * 0.5)
    canvas.note("sheep", x - 0.56 * size, y - 0.65 * size, x + 0.56 * size, y)


def cow(canvas: Canvas, hour: Light, foot: Place, size: float) -> None:
    """A cow standing in profile: brown, or white with black patches."""
    x, y = foot
    way = 1 if canvas.chance(0.5) else -1
    pied = canvas.chance(0.5)
    coat = hour.on("f0ece2") if pied else hour.on(canvas.pick(("8d4f26", "a8672f", "6e3b1e")))
    dark = coat * np.float32(0.6)
    canvas.glow((x - hour.side * 0.1 * size, y), 0.62 * size, 0.09 * size, hour.on("16200f"), 0.75)
    for px, shade in ((-0.3, 0.6), (0.24, 0.6), (-0.36, 0.95), (0.3, 0.95)):
        canvas.limb(
            [(x + way * px * size, y - 0.3 * size), (x + way * px * size, y)], 0.065 * size, coat * np.float32(shade)
        )
    body = [
        (-0.45, -0.58),
        (-0.2, -0.63),
        (0.1, -0.61),
        (0.36, -0.64),
        (0.44, -0.5),
        (0.34, -0.28),
        (0.0, -0.22),
        (-0.36, -0.27),
        (-0.47, -0.4),
    ]
    places = np.array(body) * size * [way, 1] + [x, y]
    canvas.polygon(places, coat, dark, 1.5)
    if pied:
        for _ in range(6):
            at = (x + canvas.between(-0.33, 0.33) * size, y - canvas.between(0.36, 0.56) * size)
            canvas.oval(
                at,
                canvas.between(0.05, 0.11) * size,
                canvas.between(0.04, 0.075) * size,
                hour.on("221e1c"),
                tilt=canvas.between(0, 3),
            )
    head = (x + way * 0.6 * size, y - 0.62 * size)
    canvas.limb([(x + way * 0.38 * size, y - 0.52 * size), head], 0.16 * size, coat * np.float32(0.92))
    canvas.oval(head, 0.12 * size, 0.085 * size, coat, dark, tilt=way * 0.7, turn=1.3)
    canvas.oval((head[0] + way * 0.075 * size, head[1] + 0.07 * size), 0.055 * size, 0.05 * size, hour.on("d5a08c"))
    canvas.oval((head[0] - way * 0.09 * size, head[1] - 0.04 * size), 0.06 * size, 0.025 * size, dark, tilt=-way * 0.4)
    canvas.limb(
        [(head[0] - way * 0.03 * size, head[1] - 0.08 * size), (head[0] + way * 0.02 * size, head[1] - 0.15 * size)],
        0.02 * size,
        hour.on("e4dcc4"),
    )
    canvas.oval((head[0] + way * 0.02 * size, head[1] - 0.01 * size), 0.014 * size, 0.014 * size, hour.on("14100e"))
    canvas.limb([(x - way * 0.46 * size, y - 0.55 * size), (x - way * 0.5 * size, y - 0.25 * size)], 0.022 * size, dark)
    canvas.note("cow", x - 0.75 * size, y - 0.78 * size, x + 0.75 * size, y)


def gulls(canvas: Canvas, hour: Light, horizon: float, count: int) -> None:
    """Birds far off in the sky."""
    colour = hour.on("f4f4f0") if hour.tint[0] > 0.9 and canvas.chance(0.5) else hour.on("3a3f4a", 0.2)
    for _ in range(count):
        x, y = canvas.between(0.05, canvas.aspect - 0.05), canvas.between(0.08, 0.8) * horizon
        size = canvas.between(0.012, 0.03)
        s = np.linspace(-1, 1, 9)
        wings = np.stack([x + size * s, y - size * 0.5 * np.sin(np.abs(s) * np.pi * 0.8)], 1)
        canvas.limb(wings, 0.004, colour)
        canvas.note("bird", x - size, y - size * 0.5, x + size, y + 0.004)
