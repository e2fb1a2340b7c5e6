"""Damage that replaces pixels: scratches, creases, dust, tears, torn corners and holes.

Each takes (photo uint8 RGB (H, W, 3), mask bool (H, W), rng, severity in (0, 1]), both C-contiguous, draws on the
photograph and marks in the mask every pixel it replaced. Lengths are shares of the shorter side, so the same damage
falls on a small and on a large picture. How many and how thick follows severity; where does not, so a more severe
picture has the milder one's defects and more.
"""

import math
from collections.abc import Callable

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from pipelines.strokes import (
    Canvas,
    Mask,
    Numbers,
    Photo,
    Points,
    fill,
    normals,
    outline,
    paint,
    ribbon,
    stroke,
    uneven,
    wander,
)

POINTS = 48  # of the line along which a corner is torn
SHADE = 160  # longest side of the small picture on which a crease's soft shading is drawn, pixels


def scratches(photo: Photo, mask: Mask, rng: Generator, severity: float) -> None:
    """Thin lines, mostly bright and in one direction, a little curved, in pieces and of varying width."""
    size, (bright, dark) = _shorter(photo), (_canvas(photo), _canvas(photo))
    main, spread = rng.uniform(0, np.pi), rng.choice([0.08, 0.5, 2.0])
    for scratch in rng.spawn(1 + int(severity * rng.uniform(6, 30))):
        length = size * min(1.3, scratch.lognormal(-1.6, 0.9))
        heading = main + scratch.normal(0, spread)
        path = wander(scratch, _anywhere(scratch, photo), heading, length, 0.02, max(1.5, 0.012 * size))
        taper = np.sin(np.linspace(0.1, np.pi - 0.1, len(path))) ** 0.5
        width = (0.5 + severity) * scratch.lognormal(-6.15, 0.5) * size
        canvas = dark if scratch.random() < 0.2 else bright
        widths = width * taper * uneven(scratch, len(path), 0.4)
        stroke(scratch, canvas, path, widths, scratch.uniform(0.5, 1.0), 0.55 + 0.45 * severity)
    paint(photo, mask, dark, np.array([36.0, 32.0, 28.0]), 4, rng)
    paint(photo, mask, bright, _paper(rng), 6, rng)


def creases(photo: Photo, mask: Mask, rng: Generator, severity: float) -> None:
    """Folds from edge to edge: a cracked light core with short branches, one side in shadow and one in light.

    The core is in the mask. The shading is not: it multiplies a pixel by 0.6 to 1.3.
    """
    size, canvas = _shorter(photo), _canvas(photo)
    small = min(1.0, SHADE / max(photo.shape[:2]))
    shade = np.zeros((math.ceil(photo.shape[0] * small), math.ceil(photo.shape[1] * small)), np.float32)
    for crease in rng.spawn(1 + int(severity * rng.uniform(0.5, 3))):
        path = _fold(crease, photo)
        width = (0.5 + severity) * crease.uniform(0.003, 0.008) * size
        widths = width * uneven(crease, len(path), 0.7)
        stroke(crease, canvas, path, widths, 0.4 + 0.55 * severity, 1.0)
        for branch in crease.spawn(1 + int(severity * crease.uniform(0, 12))):
            _branch(branch, canvas, path, width, size)
        _shade_fold(shade, path * small, size * small)
    soft = cv2.GaussianBlur(shade, (0, 0), max(0.7, 0.012 * size * small))
    gain = np.clip(1 + soft * (0.9 * severity + 0.3), 0.6, 1.3)
    gain = cv2.resize(gain, photo.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    cv2.multiply(photo, cv2.merge([gain] * 3), dst=photo, dtype=cv2.CV_8U)
    paint(photo, mask, canvas, _paper(rng), 8, rng)


def dust(photo: Photo, mask: Mask, rng: Generator, severity: float) -> None:
    """Opaque specks, most of them tiny and white, and a few curled fibres."""
    size, (bright, dark) = _shorter(photo), (_canvas(photo), _canvas(photo))
    count = 4 + int(severity * rng.uniform(20, 110))
    places = rng.uniform(0, 1, (128, 2))[:count] * photo.shape[1::-1]
    radii = size * np.minimum(rng.lognormal(-6.2, 0.6, 128)[:count] * (0.7 + 0.6 * severity), 0.012)
    is_dark = rng.random(128)[:count] < 0.25
    for (x, y), radius, on_dark in zip(places, radii, is_dark, strict=True):
        opacity = round(255 * min(1.0, max(0.6, 1.6 * radius)))
        centre = (round(16 * x), round(16 * y))
        canvas = dark if on_dark else bright
        cv2.circle(canvas, centre, round(16 * max(radius - 0.5, 0.25)), opacity, cv2.FILLED, cv2.LINE_AA, 4)
    for fibre in rng.spawn(int(severity * rng.uniform(0, 7))):
        start, length = _anywhere(fibre, photo), size * fibre.uniform(0.03, 0.14)
        path = wander(fibre, start, fibre.uniform(0, 2 * np.pi), length, 0.35, max(1.0, 0.008 * size))
        canvas = dark if fibre.random() < 0.4 else bright
        stroke(fibre, canvas, path, np.full(len(path), 0.004 * size), 1.0, 0.9)
    paint(photo, mask, dark, np.array([40.0, 36.0, 32.0]), 5, rng)
    paint(photo, mask, bright, np.array([240.0, 238.0, 232.0]), 5, rng)


def tears(photo: Photo, mask: Mask, rng: Generator, severity: float) -> None:
    """Rips from an edge inwards: white ragged paper, wide at the edge, with what lies behind in the middle."""
    size, paper, gap = _shorter(photo), _canvas(photo), _canvas(photo)
    for tear in rng.spawn(1 + int(severity * rng.uniform(0, 2.5))):
        start, inwards = _edge(tear, photo)
        heading, length = inwards + tear.normal(0, 0.4), size * tear.uniform(0.2, 0.7)
        path = wander(tear, start, heading, length, 0.12, max(1.0, 0.01 * size))
        taper = np.linspace(1, 0, len(path)) ** 0.7
        widths = (0.4 + severity) * size * tear.uniform(0.006, 0.022) * taper
        left, right = (widths * uneven(tear, len(path), 0.55) for _ in range(2))
        fill(paper, [ribbon(path, left, right)])
        if tear.random() < 0.5:
            fill(gap, [ribbon(path, left * 0.35 * taper, right * 0.35 * taper)])
    paint(photo, mask, paper, _paper(rng), 7, rng)
    paint(photo, mask, gap, _behind(rng), 2, rng)


def corners(photo: Photo, mask: Mask, rng: Generator, severity: float) -> None:
    """Corners torn off: what lies behind the photograph, then a ragged rim of bare paper."""
    paper, gap = _canvas(photo), _canvas(photo)
    order = rng.permutation(4)
    count = 1 + int(severity * rng.uniform(0, 3.5))
    for corner, draw in zip(order[:count], rng.spawn(count), strict=True):
        _corner(draw, photo, paper, gap, corner, severity)
    paint(photo, mask, paper, _paper(rng), 7, rng)
    paint(photo, mask, gap, _behind(rng), 2, rng)


def holes(photo: Photo, mask: Mask, rng: Generator, severity: float) -> None:
    """Rectangles and blobs gone altogether, plain white to the last pixel: the IJARCCE paper's masked image."""
    size, canvas = _shorter(photo), _canvas(photo)
    for hole in rng.spawn(1 + int(severity * rng.uniform(1, 7))):
        centre = _anywhere(hole, photo)
        radius = (0.5 + severity) * size * hole.uniform(0.03, 0.11)
        box = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * hole.uniform(0.5, 1, 2)
        shape = box * radius if hole.random() < 0.5 else outline(hole, radius, 0.14)
        cv2.fillPoly(canvas, [np.rint(centre + shape).astype(np.int32)], 255)
    photo[canvas > 0] = 255
    mask |= canvas > 0


DEFECTS: dict[str, Callable[[Photo, Mask, Generator, float], None]] = {
    "creases": creases,
    "scratches": scratches,
    "dust": dust,
    "tears": tears,
    "corners": corners,
    "holes": holes,
}


def _shorter(photo: Photo) -> int:
    return int(min(photo.shape[:2]))


def _canvas(photo: Photo) -> Canvas:
    return np.zeros(photo.shape[:2], np.uint8)


def _anywhere(rng: Generator, photo: Photo) -> Numbers:
    return rng.uniform(0, 1, 2) * photo.shape[1::-1]


def _paper(rng: Generator) -> Numbers:
    """Bare paper: nearly white to cream."""
    return np.array([248.0, 244.0, 234.0]) - rng.uniform(0, 1) * np.array([12.0, 24.0, 52.0])


def _behind(rng: Generator) -> Numbers:
    """What a scanner shows behind the photograph: its white lid, or the dark."""
    return np.full(3, rng.choice([252.0, 18.0, 60.0]))


def _edge(rng: Generator, photo: Photo) -> tuple[Numbers, float]:
    """A point on an edge, away from its ends, and the heading straight inwards."""
    side, along = rng.integers(4), rng.uniform(0.12, 0.88)
    place = np.array([[along, 0], [1, along], [along, 1], [0, along]][side]) * photo.shape[1::-1]
    return place, (np.pi / 2, np.pi, -np.pi / 2, 0.0)[side]


def _fold(rng: Generator, photo: Photo) -> Points:
    """A nearly straight path from an edge right across the photograph, cracked a little to and fro."""
    size = _shorter(photo)
    start, inwards = _edge(rng, photo)
    length = math.hypot(*photo.shape[:2])
    path = wander(rng, start, inwards + rng.normal(0, 0.35), length, 0.02, max(1.5, 0.008 * size))
    return path + normals(path) * rng.normal(0, 0.003 * size, (len(path), 1))


def _branch(rng: Generator, canvas: Canvas, path: Points, width: float, size: int) -> None:
    """A crack that leaves the fold and thins out."""
    at = rng.integers(1, len(path) - 1)
    heading = math.atan2(*(path[at + 1] - path[at - 1])[::-1]) + rng.choice([-1, 1]) * rng.uniform(0.5, 1.6)
    crack = wander(rng, path[at], heading, size * rng.uniform(0.05, 0.3), 0.22, max(1.5, 0.01 * size))
    widths = width * np.linspace(0.8, 0.1, len(crack)) * uneven(rng, len(crack), 0.6)
    stroke(rng, canvas, crack, widths, 0.85, 1.0)


def _shade_fold(shade: NDArray[np.float32], path: Points, size: float) -> None:
    """Adds shadow on one side of the fold and light on the other."""
    aside = normals(path) * max(1.0, 0.012 * size)
    thickness = max(1, round(0.016 * size))
    for side, tone in ((aside, -0.55), (-aside, 0.3)):
        cv2.polylines(shade, [np.rint(path + side).astype(np.int32)], False, tone, thickness)


def _corner(rng: Generator, photo: Photo, paper: Canvas, gap: Canvas, corner: int, severity: float) -> None:
    """Draws one torn corner; `corner` 0 to 3 is top left, top right, bottom left, bottom right."""
    size = _shorter(photo)
    reach = (0.4 + 0.9 * severity) * size * rng.uniform(0.08, 0.24) * rng.uniform(0.6, 1.4, 2)
    share = np.linspace(0, 1, POINTS)
    rough = np.cumsum(rng.normal(0, 0.022, POINTS))
    rough -= share * rough[-1]
    rough += rng.uniform(-0.25, 0.4) * np.sin(np.pi * share)
    tear = np.stack([(1 - share) * reach[0], share * reach[1]], axis=1) + (rough * reach.mean())[:, None]
    rim = tear + (size * rng.uniform(0.004, 0.02) * uneven(rng, POINTS, 0.5))[:, None]
    for canvas, line in ((gap, tear), (paper, rim)):
        # the line is drawn on past both edges, so that the corner is closed outside the photograph
        shape = np.concatenate([[[line[0, 0], -size]], line, [[-size, line[-1, 1]], [-size, -size]]])
        flipped = np.array([corner % 2, corner // 2], bool)
        fill(canvas, [np.where(flipped, np.array(photo.shape[1::-1]) - 1 - shape, shape)])
