"""People, simply painted: from some way off, or head and shoulders."""

import numpy as np

from pipelines.painting.built import CLOTHES
from pipelines.painting.canvas import Canvas, Floats, Place, mix
from pipelines.painting.light import Light

SKIN = ("f0c8a8", "e6b48e", "d39a70", "b57a50", "8d5a38", "6b4229")
HAIR = ("1f1713", "3a2618", "5f3d22", "8f6236", "c79a55", "9a9a98")
SHIRTS = ("f1efe8", "2c3550", "c8372d", "2f5fa5")  # told apart by how light they are


def person(canvas: Canvas, hour: Light, foot: Place, size: float, skirt: bool, hat: bool) -> None:
    """Someone standing or walking, seen from some way off."""
    x, y = foot
    skin, hair = hour.on(canvas.pick(SKIN)), hour.on(canvas.pick(HAIR))
    top, legs = hour.on(canvas.pick(CLOTHES)), hour.on(canvas.pick(("2c3550", "5b4a3a", "3b3b40", "8a8578", "e4dcc8")))
    way = 1 if canvas.chance(0.5) else -1
    canvas.glow((x - hour.side * 0.22 * size, y), 0.36 * size, 0.045 * size, hour.on("2a241c"), 0.75)
    stride = canvas.between(0.03, 0.11) * size
    hip, neck = (x, y - 0.48 * size), (x + way * 0.01 * size, y - 0.82 * size)
    for side, shade in ((-1, 0.72), (1, 1.0)):
        knee = (x + side * stride * 0.6 + way * 0.01 * size, y - 0.25 * size)
        lower = skin if skirt else legs
        canvas.limb([hip, knee, (x + side * stride, y - 0.02 * size)], 0.075 * size, lower * np.float32(shade))
        canvas.limb(
            [(x + side * stride, y - 0.012 * size), (x + side * stride + way * 0.05 * size, y - 0.012 * size)],
            0.035 * size,
            hour.on("3a2a20"),
        )
    arm = canvas.between(-0.04, 0.12) * size
    canvas.limb(
        [
            (neck[0], neck[1] + 0.05 * size),
            (x - arm, y - 0.62 * size),
            (x - arm * 0.3 + way * 0.05 * size, y - 0.47 * size),
        ],
        0.05 * size,
        skin * np.float32(0.75),
    )
    half = 0.095 * size
    torso = [(neck[0] - half * 0.95, neck[1] + 0.02 * size), (neck[0] + half * 0.95, neck[1] + 0.02 * size)]
    torso += [(x + half * 0.75, y - 0.46 * size), (x - half * 0.75, y - 0.46 * size)]
    ends = (top * np.float32(0.62), top) if hour.side > 0 else (top, top * np.float32(0.62))
    if skirt:
        canvas.polygon(
            [
                (x - 0.06 * size, y - 0.56 * size),
                (x + 0.06 * size, y - 0.56 * size),
                (x + 0.15 * size, y - 0.22 * size),
                (x - 0.15 * size, y - 0.22 * size),
            ],
            *ends,
        )
    canvas.polygon(torso, *ends)
    canvas.oval((neck[0], neck[1] + 0.035 * size), half, 0.05 * size, *ends)
    canvas.limb(
        [
            (neck[0] + way * half * 0.8, neck[1] + 0.05 * size),
            (x + way * (half + arm * 0.6), y - 0.62 * size),
            (x + way * half * 1.1, y - 0.46 * size),
        ],
        0.048 * size,
        skin,
    )
    canvas.limb(
        [(neck[0] + way * half * 0.8, neck[1] + 0.05 * size), (x + way * (half + arm * 0.35), y - 0.69 * size)],
        0.06 * size,
        top,
    )
    canvas.limb([neck, (neck[0], neck[1] - 0.04 * size)], 0.05 * size, skin * np.float32(0.8))
    head = (neck[0] + way * 0.008 * size, y - 0.905 * size)
    canvas.oval((head[0] - way * 0.012 * size, head[1] - 0.012 * size), 0.066 * size, 0.075 * size, hair)
    canvas.ball(
        head,
        0.056 * size,
        0.068 * size,
        [skin * np.float32(0.55), skin, np.clip(skin * np.float32(1.12), 0, 1)],
        hour.side,
        0.0,
    )
    canvas.oval((head[0], head[1] - 0.045 * size), 0.06 * size, 0.038 * size, hair, hair * np.float32(0.6))
    if hat:
        straw = hour.on("dcbc7c")
        canvas.oval((head[0], head[1] - 0.04 * size), 0.125 * size, 0.027 * size, straw, straw * np.float32(0.7))
        canvas.oval((head[0], head[1] - 0.065 * size), 0.06 * size, 0.042 * size, straw, straw * np.float32(0.75))
    canvas.note("person", x - 0.16 * size, y - size, x + 0.16 * size, y)


def portrait(canvas: Canvas, hour: Light, foot: Place, size: float) -> None:
    """Someone's head and shoulders; `foot` is the middle of the lower edge of the bust."""
    x, y = foot
    side = hour.side
    skin, hair = hour.on(canvas.pick(SKIN)), hour.on(canvas.pick(HAIR))
    cloth = hour.on(canvas.pick(SHIRTS))
    dark = np.asarray(skin * np.array([0.56, 0.48, 0.46], np.float32), np.float32)
    light = np.clip(skin * np.float32(1.13), 0, 1)
    long = canvas.chance(0.55)
    head = (x, y - 0.68 * size)
    rx, ry = 0.155 * size, 0.205 * size
    if long:
        canvas.oval(
            (x, head[1] + 0.08 * size),
            rx * 1.45,
            ry * 1.55,
            hair,
            hair * np.float32(0.5),
            turn=0 if side < 0 else np.pi,
        )
    _shoulders(canvas, side, (x, y), size, cloth)
    throat = 0.075 * size
    neck = [
        (x - throat, y - 0.58 * size),
        (x + throat, y - 0.58 * size),
        (x + throat * 1.3, y - 0.36 * size),
        (x, y - 0.3 * size),
        (x - throat * 1.3, y - 0.36 * size),
    ]
    canvas.polygon(neck, *((dark, skin) if side > 0 else (skin, dark)))
    canvas.glow((x - side * 0.01 * size, y - 0.475 * size), throat * 1.5, 0.07 * size, dark, 0.85)
    for way in (-1, 1):
        canvas.oval(
            (x + way * rx * 0.98, head[1] + 0.02 * size),
            0.028 * size,
            0.045 * size,
            mix(dark, skin, 0.6 if way == side else 0.2),
        )
    canvas.ball(head, rx, ry, [dark, mix(dark, skin, 0.62), skin, light], side, 0.08)
    canvas.ball(
        (x, head[1] + ry * 0.42),
        rx * 0.8,
        ry * 0.62,
        [mix(dark, skin, 0.3), mix(dark, skin, 0.75), skin, light],
        side,
        0.0,
    )
    _face(canvas, hour, head, (rx, ry), (skin, dark, hair))
    _hair(canvas, head, (rx, ry), hair, side, long)
    canvas.note("person", x - 0.42 * size, y - size * 0.95, x + 0.42 * size, y)


def _shoulders(canvas: Canvas, side: float, foot: Place, size: float, cloth: Floats) -> None:
    x, y = foot
    s = np.linspace(-1, 1, 30)
    top = y - 0.4 * size + 0.16 * size * np.abs(s) ** 2.6
    outline = np.stack([x + 0.4 * size * s, top], 1)
    places = [*outline, (x + 0.43 * size, y + 0.1), (x - 0.43 * size, y + 0.1)]
    dark, bright = cloth * np.float32(0.5), np.clip(cloth * np.float32(1.08), 0, 1)
    left, right = (dark, bright) if side > 0 else (bright, dark)
    canvas.polygon(places, left, right, -0.25)
    for way in (-1, 1):
        canvas.glow((x + way * 0.26 * size, y - 0.02 * size), 0.07 * size, 0.2 * size, cloth * np.float32(0.5), 0.45)
    bow = np.linspace(-1, 1, 16)
    collar = np.stack([x + 0.105 * size * bow, y - 0.38 * size + 0.085 * size * (1 - bow * bow)], 1)
    canvas.limb(collar, 0.035 * size, cloth * np.float32(0.72))


def _face(canvas: Canvas, hour: Light, head: Place, radii: Place, inks: tuple[Floats, Floats, Floats]) -> None:
    (x, y), (rx, ry), (skin, dark, hair) = head, radii, inks
    side = hour.side
    brow, lash = mix(dark, hair, 0.75), hour.on("2a1c16")
    rose = mix(skin, hour.on("c2453a"), 0.38)
    for way in (-1, 1):
        ex, ey = x + way * rx * 0.4, y + ry * 0.06
        canvas.glow((ex, ey - 0.02 * ry), rx * 0.3, ry * 0.16, dark, 0.6)
        canvas.oval((ex, ey), rx * 0.15, ry * 0.058, hour.on("f1ece6"))
        canvas.oval((ex, ey), rx * 0.07, ry * 0.06, hour.on("3a2a20"))
        canvas.oval((ex + side * rx * 0.025, ey - ry * 0.02), rx * 0.02, ry * 0.016, hour.on("ffffff"))
        canvas.limb([(ex - rx * 0.16, ey + ry * 0.0), (ex, ey - ry * 0.065), (ex + rx * 0.16, ey)], rx * 0.05, lash)
        canvas.limb(
            [
                (ex - way * rx * 0.18, ey - ry * 0.17),
                (ex + way * rx * 0.05, ey - ry * 0.21),
                (ex + way * rx * 0.22, ey - ry * 0.15),
            ],
            rx * 0.07,
            brow,
        )
        canvas.glow((x + way * rx * 0.5, y + ry * 0.38), rx * 0.36, ry * 0.2, rose, 0.55)
    nose = [
        (x - side * rx * 0.05, y + ry * 0.08),
        (x - side * rx * 0.13, y + ry * 0.36),
        (x + side * rx * 0.06, y + ry * 0.4),
    ]
    canvas.polygon(nose, dark, alpha=0.4)
    canvas.glow((x + side * rx * 0.05, y + ry * 0.3), rx * 0.12, ry * 0.12, np.clip(skin * np.float32(1.2), 0, 1), 0.6)
    canvas.glow((x, y + ry * 0.43), rx * 0.2, ry * 0.05, dark, 0.7)
    s = np.linspace(-1, 1, 14)
    lip = mix(skin, hour.on("a8322e"), 0.55)
    smile = y + ry * (0.63 + 0.03 * (1 - np.abs(s)) - 0.035 * np.abs(s) ** 2 + 0.02)
    upper = np.stack([x + rx * 0.33 * s, smile - ry * 0.045 * (1 - s * s)], 1)
    lower = np.stack([x + rx * 0.33 * s, smile + ry * 0.075 * (1 - s * s)], 1)
    canvas.polygon(np.concatenate([upper, lower[::-1]]), lip, lip * np.float32(0.88), 1.5)
    canvas.limb(np.stack([x + rx * 0.35 * s, smile], 1), rx * 0.028, lip * np.float32(0.5))


def _hair(canvas: Canvas, head: Place, radii: Place, hair: Floats, side: float, long: bool) -> None:
    (x, y), (rx, ry) = head, radii
    part = canvas.between(-0.3, 0.3)
    t = np.linspace(np.pi, 2 * np.pi, 24)
    outer = np.stack([x + np.cos(t) * rx * 1.12, y + np.sin(t) * ry * 1.16 + ry * 0.02], 1)
    fringe = np.linspace(1, -1, 20)
    inner = np.stack([x + rx * 1.0 * fringe, y - ry * (0.62 - 0.5 * np.abs(fringe - part) ** 1.8)], 1)
    dark, bright = hair * np.float32(0.6), np.clip(hair * np.float32(1.25), 0, 1)
    left, right = (dark, bright) if side > 0 else (bright, dark)
    canvas.polygon(np.concatenate([outer, inner]), left, right, -0.5)
    if long:
        for way in (-1, 1):
            s = np.linspace(0, 1, 14)
            lock = np.stack([x + way * rx * (1.02 + 0.16 * np.sin(s * 3)), y - ry * 0.3 + s * ry * 1.6], 1)
            canvas.limb(lock, rx * 0.3, hair * np.float32(1.0 if way == side else 0.7))
    for f in np.linspace(-0.85, 0.85, 15):
        s = np.linspace(0, 1, 8)
        start = np.array([x + rx * part * 0.7, y - ry * 1.1])
        end = np.array([x + rx * f * 1.05, y - ry * (0.68 - 0.5 * abs(f - part) ** 1.8)])
        path = (
            start
            + (end - start) * s[:, None]
            + np.stack([rx * 0.25 * f * np.sin(np.pi * s), -ry * 0.1 * np.sin(np.pi * s)], 1)
        )
        canvas.limb(path, rx * 0.025, hair * np.float32(canvas.between(0.65, 1.4)))


def kite(canvas: Canvas, middle: Place, size: float, hand: Place) -> None:
    """A paper kite on its string."""
    x, y = middle
    s = np.linspace(0, 1, 24)
    string = np.stack([x + (hand[0] - x) * s, y + (hand[1] - y) * s + 0.05 * np.sin(np.pi * s)], 1).astype(np.float32)
    canvas.strokes(string[:-1], string[1:], [np.array([0.93, 0.93, 0.9], np.float32)])
    red, gold = np.array([0.83, 0.2, 0.15], np.float32), np.array([0.97, 0.78, 0.2], np.float32)
    corners = np.array([(0, -0.6), (0.4, -0.1), (0, 0.6), (-0.4, -0.1)]) * size
    tilt = canvas.between(-0.6, 0.6)
    turned = corners @ np.array([[np.cos(tilt), np.sin(tilt)], [-np.sin(tilt), np.cos(tilt)]]) + middle
    for i in range(4):
        canvas.polygon([turned[i], turned[(i + 1) % 4], middle], red if i % 2 == 0 else gold)
    canvas.note("kite", x - 0.5 * size, y - 0.6 * size, x + 0.5 * size, y + 0.6 * size)
