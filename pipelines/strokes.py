"""The shapes that damage is drawn with: paths, ribbons and outlines, filled on a canvas and painted on a photograph.

Points are (n, 2) or (2,) float arrays of (x, y) in pixels, a colour (3,) of RGB 0 to 255, and a canvas a uint8 (H, W)
array of opacities, 0 to 255.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Photo = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Canvas = NDArray[np.uint8]
Numbers = NDArray[np.float64]
Points = Numbers

FAINTEST = 26  # an opacity below this (a tenth) leaves the pixel alone, so the mask tells exactly what was painted
SUBPIXEL = 4  # bits of a pixel's fraction that OpenCV is given


def wander(rng: Generator, start: Points, heading: float, length: float, curl: float, step: float) -> Points:
    """A path of `length` pixels in steps of `step` whose heading drifts by about `curl` radians a step."""
    steps = max(2, round(length / step))
    headings = heading + np.cumsum(rng.normal(0, curl, steps))
    moves = step * np.stack([np.cos(headings), np.sin(headings)], axis=1)
    return np.concatenate([start[None], start + np.cumsum(moves, axis=0)])


def uneven(rng: Generator, count: int, spread: float) -> Numbers:
    """Factors (count,) around 1 for widths along a path, neighbours alike."""
    noise = np.convolve(rng.normal(0, spread, count + 4), np.array([1, 3, 4, 3, 1]) / 6, "valid")
    factors: Numbers = np.exp(noise)
    return factors


def normals(path: Points) -> Points:
    """Unit vectors (n, 2) to the path's left."""
    along = np.diff(path, axis=0)
    along = np.concatenate([along[:1], along[1:] + along[:-1], along[-1:]])
    along /= np.maximum(np.hypot(along[:, 0], along[:, 1]), 1e-9)[:, None]
    return along[:, ::-1] * (1.0, -1.0)


def ribbon(path: Points, left: Numbers, right: Numbers) -> Points:
    """The outline of a band along the path, `left` and `right` (n,) pixels wide on its two sides."""
    across = normals(path)
    return np.concatenate([path + across * left[:, None], (path - across * right[:, None])[::-1]])


def outline(rng: Generator, radius: float, roughness: float, points: int = 32) -> Points:
    """A closed irregular outline around (0, 0), its radius off by about `roughness` (a share of it)."""
    angles = np.linspace(0, 2 * np.pi, points, endpoint=False)
    waves = np.arange(2, 9)
    heights = rng.normal(0, roughness, 7) / np.sqrt(waves)
    phases = rng.uniform(0, 2 * np.pi, 7)
    distances = radius * np.clip(1 + np.cos(np.outer(angles, waves) + phases) @ heights, 0.3, 2)
    stretch, turn = rng.uniform(0.65, 1), rng.uniform(0, 2 * np.pi)
    around = np.stack([np.cos(angles), stretch * np.sin(angles)], axis=1) * distances[:, None]
    turned: Points = around @ np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return turned


def fill(canvas: Canvas, shapes: Sequence[Points], opacity: float = 1.0) -> None:
    """Fills closed shapes, their edges smoothed; where two overlap is neither's."""
    points = [np.rint(shape * (1 << SUBPIXEL)).astype(np.int32) for shape in shapes]
    cv2.fillPoly(canvas, points, round(255 * opacity), cv2.LINE_AA, SUBPIXEL)


def stroke(rng: Generator, canvas: Canvas, path: Points, widths: Numbers, kept: float, opacity: float) -> None:
    """Draws the path `widths` (n,) pixels wide, about the share `kept` of it, in pieces of a few steps or more.

    What is thinner than a pixel is fainter instead.
    """
    # OpenCV's smoothed edge adds about 0.65 pixels to either side
    across = normals(path) * (np.maximum(widths - 1.3, 0.02) / 2)[:, None]
    left, right = path + across, path - across
    pieces = [
        np.concatenate([left[first:end], right[first:end][::-1]])
        for first, end in _runs(rng, len(path), kept)
        if end - first >= 2
    ]
    fill(canvas, pieces, opacity * min(1.0, max(0.25, float(widths.mean()))))


def paint(photo: Photo, mask: Mask, canvas: Canvas, colour: Numbers, grain: float, rng: Generator) -> None:
    """Lays `colour` (3,) over the photograph where the canvas is opaque, uneven by `grain`, and marks the mask."""
    where = np.flatnonzero(canvas >= FAINTEST)
    if not len(where):
        return
    opacity = canvas.reshape(-1)[where, None].astype(np.float32) / 255
    pixels = photo.reshape(-1, 3)
    tone = colour.astype(np.float32) + rng.normal(0, grain, (len(where), 1)).astype(np.float32)
    pixels[where] = np.clip(np.rint(pixels[where] * (1 - opacity) + tone * opacity), 0, 255)
    mask.reshape(-1)[where] = True


def _runs(rng: Generator, count: int, kept: float) -> NDArray[np.int64]:
    """First and end (m, 2) of the pieces that are left of `count` steps."""
    noise = np.convolve(rng.normal(size=count + 8), np.full(9, 1 / 3), "valid")
    solid = np.zeros(count + 2, np.int8)
    solid[1:-1] = noise <= np.sort(noise)[round(kept * (count - 1))]
    return np.flatnonzero(np.diff(solid)).reshape(-1, 2)
