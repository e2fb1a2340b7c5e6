import json
import os
from pathlib import Path
from typing import Any

import pytest

from pipelines import sources
from pipelines.stage import StageError

COCO = {
    "images": [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "b.jpg"}, {"id": 3, "file_name": "c.jpg"}],
    "annotations": [
        {"image_id": 1, "category_id": 7},
        {"image_id": 1, "category_id": 9},
        {"image_id": 1, "category_id": 7},
        {"image_id": 2, "category_id": 9},
    ],
    "categories": [{"id": 7, "name": "dog"}, {"id": 9, "name": "cat"}],
}


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def coco(data: Path, node: Any = COCO, images: str = "abc") -> Path:
    touch(data / "coco/annotations/instances.json", *(data / f"coco/images/{image}.jpg" for image in images))
    (data / "coco/annotations/instances.json").write_text(node if isinstance(node, str) else json.dumps(node))
    return data


def named(found: list[sources.Source]) -> dict[str, list[str]]:
    return {source.name: source.labels for source in found}


def test_imagenet_labels_are_the_folders(tmp_path: Path) -> None:
    touch(tmp_path / "imagenet/train/n01/x.JPEG", tmp_path / "imagenet/train/n02/y.JPEG")
    touch(tmp_path / "imagenet/CREDITS.csv", tmp_path / "imagenet/train/n02/.hidden")
    assert named(sources.imagenet(tmp_path)) == {
        "imagenet/train/n01/x.JPEG": ["n01"],
        "imagenet/train/n02/y.JPEG": ["n02"],
    }


def test_imagenet_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"imagenet/train holds no photographs; ImageNet's layout is .*<wnid>"):
        sources.imagenet(tmp_path)


def test_more_takes_folders_as_they_come(tmp_path: Path) -> None:
    touch(tmp_path / "more/pets/dogs/rex.jpg", tmp_path / "more/loose.png")
    assert named(sources.more(tmp_path)) == {"more/loose.png": [], "more/pets/dogs/rex.jpg": ["pets"]}
    assert sources.more(tmp_path / "elsewhere") == []


def test_file_names_that_are_no_text_are_still_named(tmp_path: Path) -> None:
    touch(tmp_path / "more" / os.fsdecode(b"caf\xe9.jpg"))
    (only,) = sources.more(tmp_path)
    assert only.name == "more/caf\\xe9.jpg"
    assert only.path.exists()


def test_data_may_be_a_link(tmp_path: Path) -> None:
    touch(tmp_path / "real/more/pets/rex.jpg")
    (tmp_path / "data").symlink_to(tmp_path / "real")
    assert named(sources.more(tmp_path / "data")) == {"more/pets/rex.jpg": ["pets"]}


def test_coco_labels_are_category_names(tmp_path: Path) -> None:
    assert named(sources.coco(coco(tmp_path), [])) == {
        "coco/images/a.jpg": ["cat", "dog"],
        "coco/images/b.jpg": ["cat"],
        "coco/images/c.jpg": [],
    }


def test_coco_keeps_photographs_of_the_categories_asked_for(tmp_path: Path) -> None:
    assert list(named(sources.coco(coco(tmp_path), ["dog"]))) == ["coco/images/a.jpg"]


def test_several_annotations_files_and_cocos_own_folders(tmp_path: Path) -> None:
    coco(tmp_path, images="")
    touch(*(tmp_path / f"coco/images/train2017/{image}.jpg" for image in "abcd"))
    more = {"images": [{"id": 1, "file_name": "d.jpg"}], "annotations": [], "categories": []}
    (tmp_path / "coco/annotations/instances_val.json").write_text(json.dumps(more))
    assert named(sources.coco(tmp_path, []))["coco/images/train2017/d.jpg"] == []


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ("{", r"instances.json is no readable JSON"),
        ("[]", r"instances.json is not in COCO's format"),
        ('{"images": []}', r"instances.json is not in COCO's format: 'categories' is missing"),
        ({**COCO, "images": [{"id": 1}]}, r"not in COCO's format: 'file_name' is missing"),
        ({**COCO, "annotations": 3}, r"not in COCO's format"),
        ({**COCO, "categories": []}, r"not in COCO's format: 7 is missing"),
        ({**COCO, "images": [{"id": 4, "file_name": "z.jpg"}]}, r"names 1 photographs that .*images lacks.*z.jpg"),
    ],
)
def test_annotations_that_cannot_be_used(tmp_path: Path, node: Any, message: str) -> None:
    with pytest.raises(StageError, match=message):
        sources.coco(coco(tmp_path, node), [])


def test_coco_without_annotations(tmp_path: Path) -> None:
    touch(tmp_path / "coco/images/a.jpg")
    with pytest.raises(StageError, match=r"instances\*.json is missing"):
        sources.coco(tmp_path, [])


def test_an_unknown_category_names_the_known(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"has 'cta', which .* did you mean cat\? known: cat, dog$"):
        sources.coco(coco(tmp_path), ["cta"])


def test_pairs_are_found_by_name_whatever_their_ending(tmp_path: Path) -> None:
    touch(tmp_path / "pairs/A/x/1.png", tmp_path / "pairs/A/2.jpg", tmp_path / "pairs/B/x/1.jpg")
    touch(tmp_path / "pairs/B/2.jpg")
    found = {source.name: source.given for source in sources.pairs(tmp_path)}
    assert found == {
        "pairs/B/2.jpg": tmp_path / "pairs/A/2.jpg",
        "pairs/B/x/1.jpg": tmp_path / "pairs/A/x/1.png",
    }


def test_a_picture_without_a_partner_is_named(tmp_path: Path) -> None:
    touch(tmp_path / "pairs/A/1.png", tmp_path / "pairs/B/1.png", tmp_path / "pairs/B/2.png")
    with pytest.raises(StageError, match=r"pairs/B has 2 and A has not; both must have the same names"):
        sources.pairs(tmp_path)


def test_no_pairs_and_no_old_photographs_are_none(tmp_path: Path) -> None:
    assert sources.pairs(tmp_path) == []
    assert sources.old(tmp_path) == []
    touch(tmp_path / "old/attic/grandma.jpg")
    assert named(sources.old(tmp_path)) == {"old/attic/grandma.jpg": []}
