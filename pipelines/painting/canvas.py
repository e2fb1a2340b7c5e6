"""A canvas and a brush: noise, ground, polygons, shaded balls, dabs and strokes.

Places are in picture heights: y runs from 0 at the top to 1, x from 0 to `aspect`. Colours are sRGB float32 in [0, 1].
The canvas is `OVER` times the picture's size and is averaged down at the end, which is what smooths every edge.
"""

from collections.abc import Iterable, Sequence

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

OVER = 2
FRACTION = 4  # bits of subpixel precision that cv2's drawing functions take

Floats = NDArray[np.float32]
Place = tuple[float, float]


def ink(code: str) -> Floats:
    """A colour from its six hexadecimal digits."""
    return np.array([int(code[i : i + 2], 16) / 255 for i in (0, 2, 4)], np.float32)


def mix(one: Floats, other: Floats, share: ArrayLike) -> Floats:
    """`one` where share is 0, `other` where it is 1; a share of shape S gives S + (3,)."""
    part = np.asarray(share, np.float32)[..., None]
    return np.asarray(one + (other - one) * part, np.float32)


def ramp(inks: Sequence[Floats], places: ArrayLike) -> Floats:
    """Colours at places in [0, 1] of a gradient through `inks`, evenly spaced."""
    stops = np.linspace(0, 1, len(inks))
    table = np.stack(inks)
    return np.stack([np.interp(np.asarray(places), stops, table[:, i]) for i in range(3)], -1).astype(np.float32)


class Canvas:
    """One picture being painted, its random numbers, and the boxes of the things on it."""

    def __init__(self, width: int, height: int, rng: np.random.Generator) -> None:
        self.rng = rng
        self.h, self.w = height * OVER, width * OVER
        self.aspect = width / height
        self.rgb: Floats = np.zeros((self.h, self.w, 3), np.float32)
        self.y: Floats = ((np.arange(self.h) + 0.5) / self.h).astype(np.float32)[:, None]
        self.x: Floats = ((np.arange(self.w) + 0.5) / self.h).astype(np.float32)[None, :]
        self.things: list[tuple[str, float, float, float, float]] = []

    def between(self, low: float, high: float) -> float:
        """A random number."""
        return float(self.rng.uniform(low, high))

    def chance(self, share: float) -> bool:
        """True as often as `share` says."""
        return bool(self.rng.random() < share)

    def pick(self, codes: Sequence[str]) -> str:
        """One of several."""
        return str(codes[int(self.rng.integers(len(codes)))])

    def note(self, name: str, left: float, top: float, right: float, bottom: float) -> None:
        """Remember where a thing of a COCO category stands, in picture heights."""
        self.things.append((name, left, top, right, bottom))

    def noise(self, cell: float, octaves: int = 4, stretch: float = 1.0, keep: float = 0.5, rows: int = 0) -> Floats:
        """Fractal value noise of about [-1, 1], (rows or h, w); cells `stretch` times as wide as high."""
        h = rows or self.h
        total = np.zeros((h, self.w), np.float32)
        weight, power = 1.0, 0.0
        for _ in range(octaves):
            ny, nx = max(1.0, h / (cell * self.h)), max(1.0, self.w / (cell * self.h * stretch))
            if nx > self.w / 1.5 or (h > 1 and ny > h / 1.5):
                break
            grid = self.rng.random((int(ny) + 4, int(nx) + 4), dtype=np.float32) - 0.5
            fx, fy = nx / self.w, ny / h
            away = self.rng.random(2) + 1
            matrix = np.array([[fx, 0, away[0]], [0, fy, away[1]]], np.float64)
            flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
            total += weight * cv2.warpAffine(grid, matrix, (self.w, h), flags=flags, borderMode=cv2.BORDER_REPLICATE)
            power += weight * weight
            weight *= keep
            cell /= 2
        return np.asarray(total / (0.42 * max(power, 1e-6) ** 0.5), np.float32)

    def relief(self, field: Floats, step: int, side: float) -> Floats:
        """How much a field rises towards the light that comes from `side`: its difference to itself `step` away."""
        matrix = np.array([[1, 0, -side * step], [0, 1, step * 0.6]], np.float64)
        size = (field.shape[1], field.shape[0])
        return np.asarray(field - cv2.warpAffine(field, matrix, size, borderMode=cv2.BORDER_REPLICATE), np.float32)

    def line(self, height: float, rough: float, cell: float, octaves: int = 5) -> Floats:
        """A skyline: y for every column, `height` on average and about `rough` up and down."""
        return np.asarray(height + rough * self.noise(cell, octaves, rows=1)[0], np.float32)

    def below(self, line: Floats, colour: Floats, soft: float = 0.004) -> None:
        """Paint everything under a skyline; colour is one ink or (h, w, 3)."""
        top = max(0, int((float(line.min()) - soft) * self.h) - 1)
        share = np.clip((self.y[top:] - line[None, :]) / soft + 0.5, 0, 1)
        self.cover(share, colour if colour.ndim == 1 else colour[top:], top)

    def cover(self, share: Floats, colour: Floats, top: int = 0, left: int = 0) -> None:
        """Lay a colour over a window of the canvas, as opaque as `share` (rows, columns) says."""
        window = self.rgb[top : top + share.shape[0], left : left + share.shape[1]]
        window += share[..., None] * (colour - window)

    def window(self, places: ArrayLike, margin: int = 2) -> tuple[int, int, int, int]:
        """Top, left, bottom, right in pixels of what holds the places; empty where they are off the canvas."""
        points = np.asarray(places, np.float64) * self.h
        left, top = np.floor(points.min(0)).astype(int) - margin
        right, bottom = np.ceil(points.max(0)).astype(int) + margin
        top, left = max(int(top), 0), max(int(left), 0)
        return top, left, max(top, min(int(bottom), self.h)), max(left, min(int(right), self.w))

    def polygon(
        self, places: ArrayLike, colour: Floats, dark: Floats | None = None, turn: float = 0.0, alpha: float = 1.0
    ) -> None:
        """Fill a polygon; with `dark`, shaded from `colour` to it, left to right turned by `turn` radians."""
        top, left, bottom, right = self.window(places)
        if bottom <= top or right <= left:
            return
        stencil = np.zeros((bottom - top, right - left), np.uint8)
        points = (np.asarray(places, np.float64) * self.h - [left, top]) * (1 << FRACTION)
        cv2.fillPoly(stencil, [np.rint(points).astype(np.int32)], 255, cv2.LINE_AA, FRACTION)
        ground = colour
        if dark is not None:
            along = np.cos(turn) * np.arange(right - left)[None, :] + np.sin(turn) * np.arange(bottom - top)[:, None]
            ground = mix(colour, dark, (along - along.min()) / max(float(np.ptp(along)), 1.0))
        self.cover(stencil.astype(np.float32) * (alpha / 255), ground, top, left)

    def oval(
        self, middle: Place, rx: float, ry: float, colour: Floats, dark: Floats | None = None, **more: float
    ) -> None:
        """A filled ellipse; `tilt` in radians, `turn` and `alpha` as in `polygon`."""
        tilt = more.pop("tilt", 0.0)
        angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
        x, y = rx * np.cos(angle), ry * np.sin(angle)
        places = np.stack([x * np.cos(tilt) - y * np.sin(tilt), x * np.sin(tilt) + y * np.cos(tilt)], 1) + middle
        self.polygon(places, colour, dark, **more)

    def glow(self, middle: Place, rx: float, ry: float, colour: Floats, alpha: float) -> None:
        """A soft ellipse that fades outwards: shadows under things, light around lamps and suns."""
        top, left, bottom, right = self.window([(middle[0] - rx, middle[1] - ry), (middle[0] + rx, middle[1] + ry)])
        if bottom <= top or right <= left:
            return
        away = ((self.x[:, left:right] - middle[0]) / rx) ** 2 + ((self.y[top:bottom] - middle[1]) / ry) ** 2
        self.cover(np.asarray(alpha * np.clip(1 - away, 0, 1) ** 2, np.float32), colour, top, left)

    def ball(self, middle: Place, rx: float, ry: float, inks: Sequence[Floats], side: float, gloss: float) -> None:
        """A shaded ball lit from `side` (-1 left, 1 right) and above; inks run from shadow to light."""
        top, left, bottom, right = self.window([(middle[0] - rx, middle[1] - ry), (middle[0] + rx, middle[1] + ry)])
        if bottom <= top or right <= left:
            return
        nx = (self.x[:, left:right] - middle[0]) / rx
        ny = (self.y[top:bottom] - middle[1]) / ry
        away = np.sqrt(nx * nx + ny * ny)
        nz = np.sqrt(np.clip(1 - away * away, 0, 1))
        lit = 0.5 * side * nx - 0.62 * ny + 0.6 * nz
        bounce = 0.22 * np.clip(away - 0.75, 0, 1) * np.clip(ny, 0, 1)  # light that the table throws back
        colour = ramp(inks, np.clip(0.42 + 0.58 * lit + bounce, 0, 1))
        shine = np.clip(0.47 * side * nx - 0.6 * ny + 0.64 * nz, 0, 1) ** 28
        colour += (gloss * shine)[..., None] * (1 - colour)
        edge = np.clip((1 - away) * min(rx, ry) * self.h + 0.5, 0, 1)
        self.cover(np.asarray(edge, np.float32), colour, top, left)

    def dabs(self, places: ArrayLike, sizes: ArrayLike, colours: Floats) -> None:
        """Round touches of the brush: (n, 2) places, (n,) radii, (n, 3) colours, painted in order."""
        points = np.rint(np.asarray(places) * self.h * (1 << FRACTION)).astype(int)
        radii = np.rint(np.maximum(np.asarray(sizes) * self.h, 0.6) * (1 << FRACTION)).astype(int)
        for point, radius, colour in zip(points.tolist(), radii.tolist(), colours.tolist(), strict=True):
            cv2.circle(self.rgb, point, radius, colour, -1, cv2.LINE_8, FRACTION)

    def strokes(self, starts: Floats, ends: Floats, inks: Iterable[Floats], width: int = 1) -> None:
        """Straight strokes (n, 2) to (n, 2), dealt out over the inks in turn."""
        colours = list(inks)
        both = np.rint(np.stack([starts, ends], 1) * self.h * (1 << FRACTION)).astype(np.int32)
        for i, colour in enumerate(colours):
            cv2.polylines(self.rgb, list(both[i :: len(colours)]), False, colour.tolist(), width, cv2.LINE_8, FRACTION)

    def limb(self, places: ArrayLike, width: float, colour: Floats) -> None:
        """A thick bent line with round ends: an arm, a branch, a tail."""
        points = np.rint(np.asarray(places) * self.h * (1 << FRACTION)).astype(np.int32)
        cv2.polylines(self.rgb, [points], False, colour.tolist(), max(1, round(width * self.h)), cv2.LINE_8, FRACTION)

    def picture(self) -> NDArray[np.uint8]:
        """The finished picture, (height, width, 3) uint8, with the corners a touch darker."""
        small = cv2.resize(self.rgb, (self.w // OVER, self.h // OVER), interpolation=cv2.INTER_AREA)
        rows = np.linspace(-1, 1, small.shape[0])[:, None] ** 2
        columns = np.linspace(-1, 1, small.shape[1])[None, :] ** 2
        small *= (1 - 0.05 * (rows + columns))[..., None].astype(np.float32)
        return np.asarray(np.rint(np.clip(small, 0, 1) * 255), np.uint8)
