"""How a clean photograph is made old: `damage`, a function of the photograph, the params and (seed, epoch, index).

The picture ages as a print does: first what its own surface does (blur, halftone, grain, sepia, fading, uneven
exposure, stains), then what breaks it (pipelines/defects.py), and last the scan's JPEG blocks. Operations that
albumentations has are its own; docs/damage.md says which, and what the mask means.
"""

import argparse
import math
import os
from collections.abc import Callable
from pathlib import Path

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # it asks PyPI for news at import otherwise

import albumentations  # type: ignore[import-untyped]
import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from pipelines.defects import DEFECTS
from pipelines.params import Damage
from pipelines.strokes import Canvas, Mask, Photo, fill, outline

STAIN = 192  # longest side of the small picture on which stains are drawn, pixels


def pair(photo: Photo, params: Damage, seed: int, epoch: int, index: int) -> tuple[Photo, Photo, Mask]:
    """What restoring should give back, the photograph made old, and the mask of its destroyed pixels.

    A share `params.monochrome` of the photographs is black-and-white before it ages, as most old ones are: there the
    truth is black-and-white too, and a restorer learns to repair without inventing colour. Otherwise as `damage`.
    """
    chance = np.random.default_rng([seed, epoch, index, int.from_bytes(b"monochrome")]).random()
    truth = cv2.merge([cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)] * 3) if chance < params.monochrome else photo
    truth = np.asarray(truth, np.uint8)
    return truth, *damage(truth, params, seed, epoch, index)


def damage(photo: Photo, params: Damage, seed: int, epoch: int, index: int) -> tuple[Photo, Mask]:
    """The photograph made old, and the mask of its destroyed pixels.

    `photo` is uint8 RGB (H, W, 3), 32 pixels a side or more; the damaged one has its shape, the mask is bool (H, W).
    A pure function of its arguments: no state, so any thread may call it. Every kind has a random stream of its own:
    turning one off leaves the others as they were. Raises ValueError where the photograph is no such array.
    """
    if photo.dtype != np.uint8 or photo.ndim != 3 or photo.shape[2] != 3 or min(photo.shape[:2]) < 32:
        raise ValueError(f"photo is {photo.dtype} {photo.shape}; it must be uint8 (H, W, 3) of 32 pixels or more")
    damaged = photo.copy(order="C")
    mask = np.zeros(photo.shape[:2], np.bool_)
    if params.severity == 0:
        return damaged, mask
    chances = np.random.default_rng([seed, epoch, index]).random(len(KINDS))
    for kind in (kind for kind, chance in zip(KINDS, chances, strict=True) if chance < getattr(params, kind)):
        rng = np.random.default_rng([seed, epoch, index, int.from_bytes(kind.encode())])
        if kind in DEFECTS:
            DEFECTS[kind](damaged, mask, rng, params.severity)
        else:
            damaged = TONES[kind](damaged, rng, params.severity)
    return damaged, mask


def blur(photo: Photo, rng: Generator, severity: float) -> Photo:
    """Out of focus, or, one time in four, shaken."""
    reach = severity * rng.uniform(0.6, 1) * min(photo.shape[:2])
    if rng.random() < 0.25:
        taps = 3 + 2 * round(0.012 * reach)
        return _apply(albumentations.MotionBlur(blur_limit=(taps, taps), p=1), photo, rng)
    sigma = 0.3 + 0.007 * reach
    return _apply(albumentations.GaussianBlur(blur_limit=0, sigma_limit=(sigma, sigma), p=1), photo, rng)


def halftone(photo: Photo, rng: Generator, severity: float) -> Photo:
    """A printed picture's dots: each channel against a screen of its own angle."""
    height, width = photo.shape[:2]
    pitch = max(2.8, min(height, width) * rng.uniform(0.012, 0.022))
    angle = rng.uniform(0, np.pi)
    y, x = np.mgrid[:height, :width].astype(np.float32) * np.float32(2 * np.pi / pitch)
    screens = []
    for turn in angle + np.radians([0, 30, 60]):
        u, v = np.float32(np.cos(turn)), np.float32(np.sin(turn))
        screens.append(np.cos(u * x + v * y) * np.cos(v * x - u * y))
    contrast = np.float32(90 * severity)
    return np.asarray(cv2.add(photo, cv2.merge(screens) * contrast, dtype=cv2.CV_8U), np.uint8)


def grain(photo: Photo, rng: Generator, severity: float) -> Photo:
    """The emulsion's grain, the same in every channel; larger in larger pictures."""
    height, width = photo.shape[:2]
    fine = min(1.0, 160 / min(height, width))
    noise = rng.standard_normal((math.ceil(fine * height), math.ceil(fine * width)), np.float32)
    noise *= np.float32(255 * severity * rng.uniform(0.04, 0.1))
    noise = np.asarray(cv2.resize(noise, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)
    return np.asarray(cv2.add(photo, cv2.merge([noise] * 3), dtype=cv2.CV_8U), np.uint8)


def sepia(photo: Photo, rng: Generator, severity: float) -> Photo:
    """Toned brown, partly: colours are still guessed at below severity 1."""
    share = severity * rng.uniform(0.6, 1)
    toned = _apply(albumentations.ToSepia(p=1), photo, rng)
    return np.asarray(cv2.addWeighted(toned, share, photo, 1 - share, 0), np.uint8)


def fading(photo: Photo, rng: Generator, severity: float) -> Photo:
    """Blacks lifted and whites dulled, blue most: less contrast and a warm cast (a lookup table for each channel)."""
    strength = severity * rng.uniform(0.5, 1)
    black = strength * np.array([95, 80, 60]) * rng.uniform(0.8, 1.2)
    white = 255 - strength * np.array([15, 30, 75]) * rng.uniform(0.6, 1.2)
    ramp = np.linspace(0, 1, 256)[:, None] ** (1 - 0.25 * strength)
    table = np.rint(black + ramp * (white - black)).clip(0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(photo, table[None]), np.uint8)


def exposure(photo: Photo, rng: Generator, severity: float) -> Photo:
    """Light that fell unevenly, from a side, a corner or in a patch, on a photograph that is over- or underexposed."""
    strength = max(0.01, 0.2 * severity**0.5 * rng.uniform(0.7, 1))  # albumentations takes 0.01 to 0.2
    shape = rng.choice(["linear", "corner", "gaussian"], p=[0.6, 0.2, 0.2])
    light = albumentations.Illumination(mode=shape, intensity_range=(strength, strength), angle_range=(0, 360), p=1)
    gamma = round(100 * math.exp(rng.choice([-2, 2]) * strength))
    return _apply(albumentations.RandomGamma(gamma_limit=(gamma, gamma), p=1), _apply(light, photo, rng), rng)


def stains(photo: Photo, rng: Generator, severity: float) -> Photo:
    """Brown water marks with a denser rim, and foxing's small spots: a veil of colour that destroys nothing."""
    height, width = photo.shape[:2]
    small = min(1.0, STAIN / max(height, width))
    shape = (max(1, round(height * small)), max(1, round(width * small)))
    depth = np.zeros(shape, np.float32)
    for stain in rng.spawn(1 + int(severity * rng.uniform(0, 3.5))):
        depth = np.maximum(depth, _water_mark(stain, shape))
    foxing: Canvas = np.zeros(shape, np.uint8)
    for spot in rng.spawn(int(severity * rng.uniform(0, 24))):
        blot = outline(spot, min(shape) * spot.uniform(0.004, 0.014), 0.2, 12)
        fill(foxing, [spot.uniform(0, 1, 2) * shape[::-1] + blot], spot.uniform(0.4, 0.9))
    depth = np.maximum(depth, foxing / np.float32(255))
    opacity = cv2.resize(depth * np.float32(0.9 * severity), (width, height), interpolation=cv2.INTER_LINEAR)
    brown = np.array([158, 118, 70], np.float32) * np.float32(rng.uniform(0.8, 1.1))
    return np.asarray(np.rint(photo + (brown - photo) * opacity[..., None]), np.uint8)


def jpeg(photo: Photo, rng: Generator, severity: float) -> Photo:
    """Saved at a quality from 60 down to 8."""
    quality = round(60 - 52 * severity * rng.uniform(0.6, 1))
    compress = albumentations.ImageCompression(quality_range=(quality, quality), p=1)
    # it hands the pixels to OpenCV as they are, and OpenCV takes them for BGR: chroma would be that of other colours
    return np.ascontiguousarray(_apply(compress, photo[..., ::-1], rng)[..., ::-1])


TONES: dict[str, Callable[[Photo, Generator, float], Photo]] = {
    "blur": blur,
    "halftone": halftone,
    "grain": grain,
    "sepia": sepia,
    "fading": fading,
    "exposure": exposure,
    "stains": stains,
    "jpeg": jpeg,
}
KINDS = [*(kind for kind in TONES if kind != "jpeg"), *DEFECTS, "jpeg"]  # in the order in which they strike


def _apply(transform: albumentations.ImageOnlyTransform, photo: Photo, rng: Generator) -> Photo:
    """The transform's picture. Transforms keep a generator, so threads must not share one: each call has its own."""
    transform.set_random_seed(int(rng.integers(2**31)))
    aged: Photo = transform(image=photo)["image"]
    return aged


def _water_mark(rng: Generator, shape: tuple[int, int]) -> NDArray[np.float32]:
    """How deep one water mark stains (H, W), 0 to 1: cloudy inside, deepest along the rim where it dried."""
    size = min(shape)
    place = rng.uniform(-0.1, 1.1, 2) * shape[::-1]
    canvas = np.zeros(shape, np.uint8)
    fill(canvas, [place + outline(rng, size * rng.uniform(0.15, 0.5), 0.16, 64)])
    inside = canvas / np.float32(255)
    rim = inside - cv2.GaussianBlur(inside, (0, 0), max(1.0, 0.02 * size))
    clouds = cv2.resize(rng.uniform(0.2, 0.6, (6, 6)).astype(np.float32), shape[::-1], interpolation=cv2.INTER_CUBIC)
    depth = np.clip(inside * clouds + 1.4 * np.maximum(rim, 0), 0, 1) * rng.uniform(0.6, 1)
    return np.asarray(depth, np.float32)


if __name__ == "__main__":
    from pipelines.damage_sheet import main

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sheet", type=Path, required=True, help="the PNG to write")
    parser.add_argument("--photos", type=Path, help="a folder of photographs; else build/prepared, else data")
    arguments = parser.parse_args()
    main(arguments.sheet, arguments.photos)
