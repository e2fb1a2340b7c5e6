"""What people build: houses, barns, lighthouses, boats, fences, benches, cars."""

import numpy as np

from pipelines.painting.canvas import Canvas, Floats, Place, mix
from pipelines.painting.light import Light

ROOFS = ("b5482f", "a83c2a", "c25f3c", "9c4a35", "c96a45")
WALLS = ("f3ead6", "efe0c0", "f6f1e6", "e7d3ae", "f0d9b8")
CLOTHES = ("c8372d", "2f5fa5", "f1efe8", "2c3550", "d98a2b", "3d7d5a", "8c3f6e", "e2b93b")


def _box(left: float, top: float, right: float, bottom: float) -> list[Place]:
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


def house(
    canvas: Canvas, hour: Light, foot: Place, size: float, depth: float = 0.0, wall: str = "", roof: str = ""
) -> None:
    """A gabled house with a tiled roof, windows and a door; windows glow when it is dark."""
    x, y = foot
    wide, high = size * canvas.between(0.85, 1.2), size * canvas.between(0.5, 0.72)
    front, side = wide * 0.42, hour.side
    wall, roof = wall or canvas.pick(WALLS), roof or canvas.pick(ROOFS)
    canvas.glow((x - side * wide * 0.35, y), wide * 0.95, size * 0.13, hour.on("20281c", depth), 0.6)
    lit, dim = hour.on(wall, depth), hour.on(wall, depth, 0.7)
    gable = side * front  # the gable looks to the light, the long side away from it
    edge, far = x + side * wide / 2, x - side * wide / 2
    ridge = y - high - size * 0.4
    corner = edge - gable
    canvas.polygon([(edge, y), (edge, y - high), (edge - gable / 2, ridge), (corner, y - high), (corner, y)], lit)
    canvas.polygon([(corner, y), (corner, y - high), (far, y - high), (far, y)], dim, hour.on(wall, depth, 0.6))
    slab = [(edge - gable / 2, ridge), (corner - side * 0.02 * size, y - high + 0.05 * size)]
    slab += [(far - side * 0.03 * size, y - high + 0.05 * size), (far + gable / 2 * 0.8, ridge)]
    tile = hour.on(roof, depth)
    canvas.polygon(slab, tile, tile * np.float32(0.72), 1.3)
    _tiles(canvas, slab, tile)
    eave = size * 0.045
    canvas.limb(
        [(edge + side * 0.03 * size, y - high + 0.06 * size), (edge - gable / 2, ridge)], eave, tile * np.float32(0.8)
    )
    _openings(canvas, hour, depth, (corner, far, edge, gable), (y, high, size))
    if canvas.chance(0.6):
        cx = far + gable * 0.9
        canvas.polygon(
            _box(cx - 0.04 * size, ridge - 0.1 * size, cx + 0.04 * size, ridge + 0.1 * size), tile * np.float32(0.7)
        )


def _tiles(canvas: Canvas, slab: list[Place], tile: Floats) -> None:
    one, two, three, four = (np.array(p) for p in slab)
    for t in np.linspace(0.12, 0.95, 8):
        ends = np.stack([one + (two - one) * t, four + (three - four) * t])
        canvas.strokes(ends[:1].astype(np.float32), ends[1:].astype(np.float32), [tile * np.float32(0.66)])


def _openings(canvas: Canvas, hour: Light, depth: float, xs: tuple[float, ...], ys: tuple[float, ...]) -> None:
    corner, far, edge, gable = xs
    y, high, size = ys
    dark = hour.tint[0] < 0.6
    glass = np.array([1.0, 0.8, 0.4], np.float32) if dark else hour.on("46586b", depth)
    frame = hour.on("f4f0e6", depth)
    for t in (0.22, 0.5, 0.78):
        wx = corner + (far - corner) * t
        wy, w, h = y - high * 0.62, 0.055 * size, 0.085 * size
        canvas.polygon(_box(wx - w * 1.25, wy - h * 1.15, wx + w * 1.25, wy + h * 1.15), frame)
        canvas.polygon(_box(wx - w, wy - h, wx + w, wy + h), glass, glass * np.float32(0.75), 0.8)
        canvas.limb([(wx, wy - h), (wx, wy + h)], 0.012 * size, frame)
    middle = edge - gable / 2
    door = hour.on(canvas.pick(("5b3b22", "71492a", "2f5d57")), depth)
    canvas.polygon(
        _box(middle - 0.06 * size, y - high * 0.5, middle + 0.06 * size, y), door, door * np.float32(0.7), 1.5
    )
    canvas.oval((middle, y - high * 1.0), 0.05 * size, 0.06 * size, glass)


def barn(canvas: Canvas, hour: Light, foot: Place, size: float) -> None:
    """A red barn: boards, white trim, a grey gambrel roof."""
    x, y = foot
    side, half, high = hour.side, size * 0.3, size * 0.42
    long = size * canvas.between(0.55, 0.8)
    red, dim = hour.on("a8321f"), hour.on("7a2418")
    slate, trim = hour.on("77726f"), hour.on("f2ede2")
    canvas.glow((x - side * long * 0.6, y), size * 0.95, size * 0.12, hour.on("1c2416"), 0.65)
    end = x - side * (half + long)
    back = x - side * half
    canvas.polygon([(back, y), (back, y - high), (end, y - high), (end, y - size * 0.015)], dim, dim * np.float32(0.8))
    steps = np.linspace(0.02, 0.98, 22)
    for t in steps:
        bx = back + (end - back) * t
        canvas.strokes(
            np.array([[bx, y - 0.004]], np.float32), np.array([[bx, y - high]], np.float32), [dim * np.float32(0.75)]
        )
    face = [(-1, 0), (-1, -high), (-0.62, -high - size * 0.19), (0, -high - size * 0.3)]
    face += [(-px, py) for px, py in face[::-1][1:]]
    places = [(x + px * half, y + py) for px, py in face]
    canvas.polygon(places, red, red * np.float32(0.86), 1.4)
    for px in np.linspace(-0.92, 0.92, 15):
        top = y - high - size * (0.3 - 0.26 * abs(px))
        canvas.strokes(
            np.array([[x + px * half, y]], np.float32),
            np.array([[x + px * half, top]], np.float32),
            [red * np.float32(0.8)],
        )
    peak, knee, eave = -high - size * 0.3, -high - size * 0.19, -high
    for upper, lower, ux, lx, shade in ((peak, knee, 0, 0.62, 1.05), (knee, eave + size * 0.03, 0.62, 1.06, 0.82)):
        near = [(x - side * ux * half, y + upper), (x - side * lx * half, y + lower)]
        away = [(x - side * (lx * half + long), y + lower), (x - side * (ux * half + long), y + upper)]
        canvas.polygon(near + away, slate * np.float32(shade), slate * np.float32(shade * 0.8))
    canvas.limb(places[1:-1], size * 0.024, trim)
    door = half * 0.42
    canvas.polygon(_box(x - door, y - high * 0.82, x + door, y), red * np.float32(0.7))
    for line in ([(x - door, y), (x + door, y - high * 0.82)], [(x + door, y), (x - door, y - high * 0.82)]):
        canvas.limb(line, size * 0.013, trim)
    outline = [*_box(x - door, y - high * 0.82, x + door, y), (x - door, y - high * 0.82)]
    canvas.limb(outline, size * 0.018, trim)
    canvas.polygon(_box(x - half * 0.16, y + peak * 0.86, x + half * 0.16, y + peak * 0.7), hour.on("2a1a18"))


def lighthouse(canvas: Canvas, hour: Light, foot: Place, height: float, stripes: str) -> None:
    """A lighthouse with painted bands, a gallery and a lantern."""
    x, y = foot
    base, top = height * 0.11, height * 0.066
    bands = 5
    for i in range(bands):
        t0, t1 = i / bands * 0.78, (i + 1) / bands * 0.78
        w0, w1 = (base + (top - base) * t / 0.78 for t in (t0, t1))
        colour = hour.on("f7f4ec") if i % 2 == 0 else hour.on(stripes)
        places = [
            (x - w0, y - height * t0),
            (x - w1, y - height * t1),
            (x + w1, y - height * t1),
            (x + w0, y - height * t0),
        ]
        ends = (colour * np.float32(0.55), np.clip(colour * np.float32(1.08), 0, 1))
        canvas.polygon(places, *(ends if hour.side > 0 else ends[::-1]))
    iron, glass = hour.on("2b2f38"), hour.on("cfe3e6")
    if hour.tint[0] < 0.85:
        glass = np.array([1.0, 0.93, 0.6], np.float32)
    up = y - height * 0.78
    canvas.polygon(_box(x - top * 1.5, up - height * 0.02, x + top * 1.5, up), iron)
    canvas.polygon(
        _box(x - top * 0.75, up - height * 0.12, x + top * 0.75, up - height * 0.02), glass, glass * np.float32(0.7)
    )
    for px in (-0.75, -0.25, 0.25, 0.75):
        canvas.limb([(x + top * px, up - height * 0.12), (x + top * px, up - height * 0.02)], height * 0.006, iron)
    canvas.polygon(
        [(x - top, up - height * 0.12), (x, up - height * 0.21), (x + top, up - height * 0.12)], hour.on("a5352a")
    )
    if hour.tint[0] < 0.85:
        canvas.glow((x, up - height * 0.07), height * 0.3, height * 0.22, glass, 0.6)
    for t in (0.2, 0.5):
        canvas.polygon(_box(x - height * 0.012, y - height * (t + 0.05), x + height * 0.012, y - height * t), iron)


def sailboat(canvas: Canvas, hour: Light, foot: Place, size: float, depth: float = 0.0) -> None:
    """A yawl under sail, with its reflection."""
    x, y = foot
    way = 1 if canvas.chance(0.5) else -1
    hull = hour.on(canvas.pick(("f5f2ea", "24406e", "7d2b24", "6b4529", "1f4c4a")), depth)
    sail = hour.on(canvas.pick(("fbf7ec", "fbf7ec", "f3e6c8", "c4553a")), depth)
    canvas.glow((x, y + size * 0.12), size * 0.5, size * 0.16, hour.on("173a4c", depth), 0.5)
    canvas.polygon(
        [(x - 0.2 * size, y + 0.05 * size), (x + 0.12 * size, y + 0.05 * size), (x, y + 0.5 * size)], sail, alpha=0.22
    )
    mast = x - way * 0.02 * size
    canvas.limb([(mast, y), (mast, y - size)], size * 0.014, hour.on("5a4330", depth))
    t = np.linspace(0, 1, 12)[:, None]
    foot_end, head = (
        np.array([mast - way * 0.42 * size, y - 0.12 * size]),
        np.array([mast - way * 0.02 * size, y - 0.97 * size]),
    )
    belly = np.array([-way * 0.06 * size, 0]) * np.sin(np.pi * t)
    leech = foot_end + (head - foot_end) * t + belly
    canvas.polygon(
        [(mast - way * 0.02 * size, y - 0.12 * size), *leech], sail, sail * np.float32(0.72), 0 if way < 0 else np.pi
    )
    clew, peak = (
        np.array([mast + way * 0.36 * size, y - 0.1 * size]),
        np.array([mast + way * 0.01 * size, y - 0.86 * size]),
    )
    jib = clew + (peak - clew) * t
    canvas.polygon(
        [(mast + way * 0.04 * size, y - 0.14 * size), *jib], sail * np.float32(0.96), sail * np.float32(0.8), 1.0
    )
    s = np.linspace(-1, 1, 16)
    sheer = y - 0.06 * size - 0.03 * size * s**2 - way * 0.02 * size * s
    keel = y + 0.045 * size * (1 - np.abs(s) ** 3)
    deck = np.stack([x + 0.44 * size * s, sheer], 1)
    bottom = np.stack([x + 0.36 * size * s, keel], 1)
    canvas.polygon(np.concatenate([deck, bottom[::-1]]), hull, hull * np.float32(0.62), 1.5)
    canvas.limb(deck, size * 0.012, hour.on("e9dfc8", depth))
    canvas.note("boat", x - 0.46 * size, y - size, x + 0.46 * size, y + 0.05 * size)


def rowboat(canvas: Canvas, hour: Light, foot: Place, size: float) -> None:
    """A wooden rowing boat, moored or drawn up."""
    x, y = foot
    s = np.linspace(-1, 1, 18)
    paint = hour.on(canvas.pick(("8a5a33", "2f6286", "a83a2c", "e8e2d2", "3f7456")))
    canvas.glow((x, y + 0.07 * size), size * 0.62, size * 0.13, hour.on("1d2c33"), 0.6)
    rim = np.stack([x + 0.5 * size * s, y - 0.05 * size * np.abs(s) ** 2.2], 1)
    back = np.stack([x + 0.5 * size * s, y - 0.05 * size * np.abs(s) ** 2.2 - 0.07 * size * (1 - s * s)], 1)
    keel = np.stack([x + 0.42 * size * s, y + 0.13 * size * (1 - s**4)], 1)
    canvas.polygon(np.concatenate([back, rim[::-1]]), hour.on("6b4a2e"), hour.on("3a2718"), 1.5)
    for px in (-0.2, 0.12):
        canvas.limb(
            [(x + px * size, y - 0.06 * size), (x + (px + 0.03) * size, y + 0.004)], size * 0.035, hour.on("a87d4f")
        )
    canvas.polygon(np.concatenate([rim, keel[::-1]]), paint, paint * np.float32(0.55), 1.5)
    canvas.limb(rim, size * 0.016, hour.on("d9c7a2"))
    canvas.note("boat", x - 0.5 * size, y - 0.1 * size, x + 0.5 * size, y + 0.13 * size)


def fence(canvas: Canvas, hour: Light, y: float, height: float, slope: float) -> None:
    """A wooden fence across the picture."""
    wood, dark = hour.on("a58a66"), hour.on("5d4a35")
    x = canvas.between(-0.1, 0)
    while x < canvas.aspect + 0.1:
        foot = y + slope * x
        w = height * 0.07
        places = _box(x - w, foot - height * canvas.between(0.95, 1.1), x + w, foot)
        canvas.polygon(places, *((dark, wood) if hour.side > 0 else (wood, dark)))
        x += height * 1.15
    for part in (0.42, 0.8):
        rail = [
            (-0.1, y - slope * 0.1 - height * part),
            (canvas.aspect + 0.1, y + slope * (canvas.aspect + 0.1) - height * part),
        ]
        canvas.limb(rail, height * 0.1, mix(wood, dark, 0.35))
        canvas.limb(np.array(rail) - [0, height * 0.025], height * 0.04, wood)


def bench(canvas: Canvas, hour: Light, foot: Place, size: float) -> None:
    """A park bench of wooden slats on iron legs."""
    x, y = foot
    canvas.glow((x, y), size * 0.75, size * 0.12, hour.on("1f1d14"), 0.65)
    iron, wood = hour.on("2a2c2e"), hour.on("a9713f")
    for way in (-0.42, 0.42):
        canvas.limb(
            [(x + way * size, y), (x + way * size, y - 0.28 * size), (x + way * size, y - 0.6 * size)],
            size * 0.035,
            iron,
        )
    for i, part in enumerate((0.24, 0.28, 0.38, 0.46, 0.54)):
        high = size * (0.045 if i > 1 else 0.03)
        places = _box(x - 0.52 * size, y - part * size - high, x + 0.52 * size, y - part * size)
        canvas.polygon(places, np.clip(wood * np.float32(1.1), 0, 1), wood * np.float32(0.7), 1.4)
    canvas.note("bench", x - 0.52 * size, y - 0.6 * size, x + 0.52 * size, y)


def umbrella(canvas: Canvas, hour: Light, foot: Place, size: float) -> None:
    """A beach umbrella in two colours, with its shadow."""
    x, y = foot
    lean = 0.12 * size * hour.side
    canvas.glow((x - hour.side * 0.3 * size, y + 0.01), 0.55 * size, 0.09 * size, hour.on("6b5334"), 0.65)
    top = (x + lean, y - size)
    canvas.limb([(x, y), top], size * 0.025, hour.on("efe9dc"))
    one, two = hour.on(canvas.pick(("cf3a2c", "cf3a2c", "2c62a8", "e0a52c"))), hour.on("f8f4ea")
    edges = np.linspace(-1, 1, 8)
    for i in range(7):
        a, b = edges[i], edges[i + 1]
        s = np.linspace(a, b, 6)
        rim = np.stack(
            [x + lean * 0.75 + 0.55 * size * s, y - 0.68 * size - 0.04 * size * np.cos((s - a) / (b - a) * 6.28)], 1
        )
        arch = np.stack([top[0] + 0.5 * size * s * 0.6, top[1] + 0.11 * size * s * s], 1)
        colour = (one if i % 2 == 0 else two) * np.float32(np.clip(0.88 + 0.2 * (a + b) / 2 * hour.side, 0, 1.05))
        canvas.polygon(np.concatenate([[top], arch, rim[::-1]]), np.clip(colour, 0, 1), colour * np.float32(0.85), 1.5)
    canvas.note("umbrella", x - 0.5 * size, y - size, x + 0.55 * size, y)


def car(canvas: Canvas, hour: Light, foot: Place, size: float) -> None:
    """A small car seen from the side."""
    x, y = foot
    paint = hour.on(canvas.pick(("b8322a", "b8322a", "e9e6de", "2f5c93", "d9ab35")))
    canvas.glow((x, y), size * 0.62, size * 0.07, hour.on("16181a"), 0.8)
    cabin = [(-0.26, -0.2), (-0.16, -0.37), (0.14, -0.37), (0.27, -0.2)]
    canvas.polygon([(x + a * size, y + b * size) for a, b in cabin], paint, paint * np.float32(0.7), 1.4)
    for a, b in ((-0.19, -0.02), (0.01, 0.2)):
        glass = [(a, -0.21), (a + 0.06 * (a < 0), -0.34), (b - 0.07 * (b > 0.1), -0.34), (b, -0.21)]
        canvas.polygon([(x + p * size, y + q * size) for p, q in glass], hour.on("a9c0cc"), hour.on("4a5c6a"), 0.8)
    body = [(-0.5, -0.08), (-0.48, -0.2), (-0.26, -0.23), (0.28, -0.23), (0.47, -0.18), (0.5, -0.08)]
    canvas.polygon([(x + a * size, y + b * size) for a, b in body], paint, paint * np.float32(0.6), 1.5)
    for way in (-0.29, 0.29):
        canvas.oval((x + way * size, y - 0.07 * size), 0.085 * size, 0.085 * size, hour.on("1b1c1f"))
        canvas.oval((x + way * size, y - 0.07 * size), 0.045 * size, 0.045 * size, hour.on("b9bcc0"))
    canvas.note("car", x - 0.5 * size, y - 0.37 * size, x + 0.5 * size, y)
