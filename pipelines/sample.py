"""Paints the embedded sample: scenes in ImageNet's and COCO's layouts, with the oddities that real sets have.

    python -m pipelines.sample [folder] [--seed 1907] [--imagenet 320] [--coco 320]

Every picture is a function of (seed, set, index) alone: the same numbers give the same bytes.
"""

import argparse
import io
import json
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipelines.painting import life, nature, stills
from pipelines.painting.canvas import OVER, Canvas
from pipelines.stage import StageError, fresh_folder, stage

Scene = Callable[[Canvas], None]

QUALITY = 87
EXIF_ORIENTATION = 0x0112
SIZES = ((256, 256), (288, 256), (320, 256), (340, 256), (256, 288), (256, 320), (300, 256), (352, 256))

# ImageNet's own synset ids
CLASSES: dict[str, Scene] = {
    "n09428293": nature.seashore,
    "n09332890": nature.lakeside,
    "n09193705": nature.alp,
    "n09468604": nature.valley,
    "n02793495": life.barn,
    "n11939491": nature.daisy,
    "n02814860": life.lighthouse,
    "n04612504": nature.yawl,
    "n07753592": stills.bananas,
    "n07747607": stills.oranges,
    "n07742313": stills.green_apples,
    "n02123045": stills.tabby,
}

COCO_SCENES: tuple[Scene, ...] = (
    nature.seashore, life.pasture, stills.mixed_fruit, life.autumn, life.village, life.portrait,
    life.flower_field, nature.sunset, life.dog, stills.bouquet, life.kites, nature.lakeside, stills.cat,
    nature.night, nature.dunes, nature.valley, life.portrait, nature.alp,
)  # fmt: skip

# COCO's own ids and supercategories
CATEGORIES: dict[str, tuple[int, str]] = {
    "person": (1, "person"),
    "car": (3, "vehicle"),
    "boat": (9, "vehicle"),
    "bench": (15, "outdoor"),
    "bird": (16, "animal"),
    "cat": (17, "animal"),
    "dog": (18, "animal"),
    "sheep": (20, "animal"),
    "cow": (21, "animal"),
    "umbrella": (28, "accessory"),
    "kite": (38, "sports"),
    "bowl": (51, "kitchen"),
    "banana": (52, "food"),
    "apple": (53, "food"),
    "orange": (55, "food"),
    "potted plant": (64, "furniture"),
    "dining table": (67, "furniture"),
    "vase": (86, "indoor"),
}

LICENCE = {"id": 1, "name": "CC0 1.0", "url": "https://creativecommons.org/publicdomain/zero/1.0/"}

SOURCES = """# Where these pictures come from

Every picture here was painted by this repository's own program, `python -m pipelines.sample --seed {seed}`.
No photograph and no work of anyone else is in them. They are in the public domain (CC0 1.0).

`imagenet/train/<wnid>/` holds ImageNet's layout, `coco/images/` and `coco/annotations/` COCO's.
Boxes say where the painter put a thing, also where something nearer covers part of it.

Real sets have files that are not as they should be. These stand for them:

{oddities}
"""


def paint(scene: Scene, seed: int, collection: int, index: int) -> tuple[Canvas, NDArray[np.uint8]]:
    """One picture of a set, (height, width, 3) sRGB uint8, and its canvas."""
    rng = np.random.default_rng([seed, collection, index])
    width, height = SIZES[int(rng.integers(len(SIZES)))]
    canvas = Canvas(width, height, rng)
    scene(canvas)
    return canvas, canvas.picture()


def encode(picture: NDArray[np.uint8]) -> bytes:
    """A picture as JPEG bytes; grey for (H, W), CMYK for (H, W, 4)."""
    file = io.BytesIO()
    mode = "CMYK" if picture.ndim == 3 and picture.shape[2] == 4 else None
    image = Image.fromarray(picture) if mode is None else Image.frombytes(mode, picture.shape[1::-1], picture.tobytes())
    image.save(file, "JPEG", quality=QUALITY, optimize=True)
    return file.getvalue()


def annotations(canvas: Canvas, image: int, first: int) -> list[dict[str, object]]:
    """COCO's entries for the things on a canvas: boxes in pixels, clipped to the picture; slivers are left out."""
    height, width = canvas.h // OVER, canvas.w // OVER
    found: list[dict[str, object]] = []
    for name, *edges in canvas.things:
        x0, x1 = (min(max(edge * height, 0), width) for edge in edges[::2])
        y0, y1 = (min(max(edge * height, 0), height) for edge in edges[1::2])
        if x1 - x0 < 2 or y1 - y0 < 2:
            continue
        box = [round(x0, 2), round(y0, 2), round(x1 - x0, 2), round(y1 - y0, 2)]
        found.append(
            {
                "id": first + len(found),
                "image_id": image,
                "category_id": CATEGORIES[name][0],
                "bbox": box,
                "area": round(box[2] * box[3], 2),
                "iscrowd": 0,
                "segmentation": [],
            }
        )
    return found


def imagenet(folder: Path, seed: int, count: int) -> list[Path]:
    """Paint the ImageNet half; the files in order."""
    written = []
    for index in range(count):
        wnid = list(CLASSES)[index % len(CLASSES)]
        path = folder / "train" / wnid / f"{wnid}_{index // len(CLASSES) + 1}.JPEG"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(paint(CLASSES[wnid], seed, 0, index)[1]))
        written.append(path)
        _progress("imagenet", index + 1, count)
    return written


def coco(folder: Path, seed: int, count: int) -> list[Path]:
    """Paint the COCO half and write its annotations; the files in order."""
    (folder / "images").mkdir(parents=True)
    (folder / "annotations").mkdir()
    images: list[dict[str, object]] = []
    boxes: list[dict[str, object]] = []
    written = []
    for index in range(count):
        canvas, picture = paint(COCO_SCENES[index % len(COCO_SCENES)], seed, 1, index)
        path = folder / "images" / f"{index + 1:012d}.jpg"
        path.write_bytes(encode(picture))
        written.append(path)
        height, width = picture.shape[:2]
        images.append({"id": index + 1, "file_name": path.name, "width": width, "height": height, "license": 1})
        boxes += annotations(canvas, index + 1, len(boxes) + 1)
        _progress("coco", index + 1, count)
    known = [{"id": key, "name": name, "supercategory": group} for name, (key, group) in CATEGORIES.items()]
    info = {"description": "Autochrome's embedded sample, painted by pipelines.sample", "version": "1.0", "year": 1907}
    whole = {"info": info, "licenses": [LICENCE], "images": images, "annotations": boxes, "categories": known}
    text = json.dumps(whole, indent=None, separators=(",", ":")) + "\n"
    (folder / "annotations" / "instances_sample.json").write_text(text, encoding="utf-8")
    return written


def oddities(photographs: Sequence[Path]) -> dict[Path, str]:
    """Make seven of the photographs as odd as files in real sets are; what was done to each.

    They are taken at even distances, so some lie in either half of the list. Needs 16 photographs or more.
    """
    step = len(photographs) // 8
    truncated, copied, grey, faded, cmyk, turned, small = photographs[step * 3 // 2 :: step][:7]
    picture = {path: np.asarray(Image.open(path).convert("RGB")) for path in (grey, faded, cmyk, turned, small)}
    truncated.write_bytes(truncated.read_bytes()[: truncated.stat().st_size * 3 // 5])
    original = photographs[step * 5 // 2 + 1]
    shutil.copyfile(original, copied)
    grey.write_bytes(encode(_grey(picture[grey])))
    pale = _grey(picture[faded])[..., None] * np.array([1.0, 0.99, 0.975])
    faded.write_bytes(encode(np.rint(pale).astype(np.uint8)))
    cmyk.write_bytes(encode(np.asarray(Image.fromarray(picture[cmyk]).convert("CMYK"))))
    _turn(turned, picture[turned])
    small.write_bytes(encode(np.asarray(cv2.resize(picture[small], (72, 64), interpolation=cv2.INTER_AREA), np.uint8)))
    return {
        truncated: "a JPEG cut off after three fifths",
        copied: f"a copy of {original.name}",
        grey: "a greyscale JPEG",
        faded: "colour, but so faint that it is near grey",
        cmyk: "a CMYK JPEG",
        turned: "stored lying on its side, with EXIF orientation 6",
        small: "72 x 64 pixels",
    }


def _grey(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.uint8)


def _turn(path: Path, picture: NDArray[np.uint8]) -> None:
    image = Image.fromarray(np.ascontiguousarray(np.rot90(picture)))
    exif = image.getexif()
    exif[EXIF_ORIENTATION] = 6
    image.save(path, "JPEG", quality=QUALITY, optimize=True, exif=exif)


def sample(folder: Path, seed: int, of_imagenet: int, of_coco: int) -> None:
    """Paint both halves and SOURCES.md; `folder` is there complete or not at all.

    Raises StageError where the folder holds anything: it may be someone's real photographs.
    """
    if folder.exists() and any(folder.iterdir()):
        raise StageError(f"{folder} is not empty; move what is there away or name another folder")
    with fresh_folder(folder) as fresh:
        written = imagenet(fresh / "imagenet", seed, of_imagenet) + coco(fresh / "coco", seed, of_coco)
        odd = oddities(written)
        lines = "\n".join(f"- `{path.relative_to(fresh)}`: {what}" for path, what in odd.items())
        (fresh / "SOURCES.md").write_text(SOURCES.format(seed=seed, oddities=lines), encoding="utf-8")


def _progress(name: str, done: int, count: int) -> None:
    if done % 40 == 0 or done == count:
        sys.stderr.write(f"{name}: {done} of {count} painted\n")


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.sample", description="Paints the embedded sample.")
    parser.add_argument("folder", nargs="?", type=Path, default=Path("data"))
    parser.add_argument("--seed", type=int, default=1907)
    parser.add_argument("--imagenet", type=int, default=324, help="pictures in ImageNet's layout")
    parser.add_argument("--coco", type=int, default=324, help="pictures in COCO's layout")
    given = parser.parse_args(arguments)
    if given.imagenet + given.coco < 16:
        parser.error(f"--imagenet and --coco together are {given.imagenet + given.coco}; they must be 16 or more")
    with stage("sample"):
        sample(given.folder, given.seed, given.imagenet, given.coco)


if __name__ == "__main__":
    main()
