"""Which raw photographs a set may have, and what each one is called: ImageNet's, COCO's and plain folders' layouts."""

import difflib
import json
import os
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipelines.stage import StageError


@dataclass(frozen=True)
class Source:
    """A file that may be a photograph."""

    path: Path
    name: str  # its path inside data/, as text whatever the bytes of its file name
    labels: list[str]
    given: Path | None = None  # the picture that this one is the answer to


def imagenet(data: Path) -> list[Source]:
    """data/imagenet/train/<wnid>/*; the label is the wnid. StageError where the folder is not so."""
    train = data / "imagenet" / "train"
    sources = [_source(data, path, [path.parent.name]) for path in _files(train) if path.parent.parent == train]
    if not sources:
        raise StageError(f"{train} holds no photographs; ImageNet's layout is {train}/<wnid>/*.JPEG")
    return sources


def old(data: Path) -> list[Source]:
    """data/old/**: genuine old photographs, without labels. An absent folder has none."""
    return [_source(data, path, []) for path in _files(data / "old")]


def pairs(data: Path) -> list[Source]:
    """data/pairs/A/** and data/pairs/B/**: B's pictures, each given A's of the same name (the ending may differ).

    An absent folder has none. StageError names a picture that has no partner.
    """
    given, answers = ({_partner(top, path): path for path in _files(top)} for top in _sides(data))
    alone = sorted(given.keys() ^ answers.keys())
    if alone:
        has, lacks = ("A", "B") if alone[0] in given else ("B", "A")
        raise StageError(f"{data}/pairs/{has} has {alone[0]} and {lacks} has not; both must have the same names")
    return [replace(_source(data, path, []), given=given[name]) for name, path in answers.items()]


def more(data: Path) -> list[Source]:
    """data/more/**; the label is the first folder, and a photograph beside the folders has none.

    An absent folder has no photographs.
    """
    top = data / "more"
    inside = {path: path.relative_to(top).parts for path in _files(top)}
    return [_source(data, path, list(parts[:1]) if len(parts) > 1 else []) for path, parts in inside.items()]


def coco(data: Path, categories: Collection[str]) -> list[Source]:
    """data/coco/images/** as data/coco/annotations/instances*.json name them; the labels are categories.

    `categories` keeps the photographs that have one of them; empty keeps all. StageError where an annotations file
    is not COCO's, names a photograph that is not there, or does not know a category.
    """
    folder = data / "coco"
    files = sorted((folder / "annotations").glob("instances*.json"))
    if not files:
        raise StageError(f"{folder}/annotations/instances*.json is missing; COCO's annotations name its photographs")
    images = {path.name: path for path in _files(folder / "images")}
    labels: dict[str, set[str]] = {}
    known: set[str] = set()
    for path in files:
        names, annotated = _annotations(path)
        known |= names
        _check_images(path, annotated, images)
        for image, own in annotated.items():
            labels.setdefault(image, set()).update(own)
    _check_categories(categories, known)
    wanted = {image: own for image, own in labels.items() if not categories or own & set(categories)}
    if not wanted:
        raise StageError(f"{folder}/annotations name no photograph of {', '.join(categories) or 'any category'}")
    return [_source(data, images[image], sorted(own)) for image, own in wanted.items()]


def _annotations(path: Path) -> tuple[set[str], dict[str, set[str]]]:
    """The categories a file knows, and each image's file name -> names of the categories in it."""
    try:
        node = json.loads(path.read_bytes())
        names: dict[int, str] = {category["id"]: str(category["name"]) for category in node["categories"]}
        found: defaultdict[int, set[str]] = defaultdict(set)
        for annotation in node["annotations"]:
            found[annotation["image_id"]].add(names[annotation["category_id"]])
        return set(names.values()), {Path(image["file_name"]).name: found[image["id"]] for image in node["images"]}
    except (OSError, ValueError, RecursionError) as error:
        raise StageError(f"{path} is no readable JSON: {' '.join(str(error).split())}") from error
    except KeyError as error:
        raise StageError(f"{path} is not in COCO's format: {error.args[0]!r} is missing") from error
    except TypeError as error:
        raise StageError(f"{path} is not in COCO's format ({error}); it must hold lists of objects") from error


def _check_images(path: Path, annotated: Mapping[str, Any], images: Mapping[str, Path]) -> None:
    missing = sorted(annotated.keys() - images.keys())
    if missing:
        images_folder = path.parent.parent / "images"
        raise StageError(f"{path} names {len(missing)} photographs that {images_folder} lacks; the first: {missing[0]}")


def _check_categories(categories: Collection[str], known: Collection[str]) -> None:
    for category in categories:
        if category not in known:
            near = difflib.get_close_matches(category, sorted(known), n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise StageError(
                f"prepare.coco.categories has {category!r}, which the annotations do not know; "
                f"{hint}known: {', '.join(sorted(known))}"
            )


def _sides(data: Path) -> tuple[Path, Path]:
    return data / "pairs/A", data / "pairs/B"


def _partner(top: Path, path: Path) -> str:
    """What a picture's name has in common with its partner's."""
    return path.relative_to(top).with_suffix("").as_posix()


def _files(top: Path) -> Iterator[Path]:
    """Every file below `top` that is not hidden, in a fixed order."""
    for folder, inner, names in os.walk(top):
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        yield from (Path(folder, name) for name in sorted(names) if not name.startswith("."))


def _source(data: Path, path: Path, labels: list[str]) -> Source:
    name = os.fsencode(path.relative_to(data)).decode("utf-8", "backslashreplace")
    return Source(path, name, [label.encode("utf-8", "backslashreplace").decode() for label in labels])
