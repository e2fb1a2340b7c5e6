import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from pipelines import sample
from pipelines.painting.canvas import Canvas, ink, mix, ramp
from pipelines.stage import StageError


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def painted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sample")
    sample.sample(folder, 3, 12, 18)
    return folder


@pytest.fixture(scope="module")
def instances(painted: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((painted / "coco/annotations/instances_sample.json").read_text())
    return found


def odd(folder: Path) -> dict[str, Path]:
    lines = [line for line in (folder / "SOURCES.md").read_text().splitlines() if line.startswith("- `")]
    return {line.split("`: ")[1]: folder / line.split("`")[1] for line in lines}


def find(folder: Path, word: str) -> Path:
    return next(path for what, path in odd(folder).items() if word in what)


def test_same_seed_same_bytes(painted: Path, tmp_path: Path) -> None:
    sample.sample(tmp_path / "again", 3, 12, 18)
    assert digests(tmp_path / "again") == digests(painted)


def test_photographs_that_are_there_are_never_touched(tmp_path: Path) -> None:
    (tmp_path / "imagenet").mkdir()
    (tmp_path / "imagenet/mine.JPEG").write_bytes(b"mine")
    with pytest.raises(StageError, match="is not empty; move what is there away"):
        sample.sample(tmp_path, 3, 12, 18)
    assert list(digests(tmp_path)) == ["imagenet/mine.JPEG"]


def test_a_picture_does_not_depend_on_how_many_are_painted() -> None:
    one = sample.paint(sample.CLASSES["n02793495"], 3, 0, 4)[1]
    again = sample.paint(sample.CLASSES["n02793495"], 3, 0, 4)[1]
    other = sample.paint(sample.CLASSES["n02793495"], 4, 0, 4)[1]
    assert np.array_equal(one, again)
    assert one.shape != other.shape or not np.array_equal(one, other)


def test_imagenet_layout(painted: Path) -> None:
    files = list((painted / "imagenet").rglob("*.JPEG"))
    assert len(files) == 12
    assert {path.parent.name for path in files} == set(sample.CLASSES)
    assert all(path.name == f"{path.parent.name}_1.JPEG" for path in files)
    assert all(path.parent.parent == painted / "imagenet/train" for path in files)


def test_coco_annotations_point_at_files_and_categories(painted: Path, instances: dict[str, Any]) -> None:
    images = {image["id"]: image for image in instances["images"]}
    assert {image["file_name"] for image in images.values()} == {p.name for p in (painted / "coco/images").iterdir()}
    categories = {category["id"]: category["name"] for category in instances["categories"]}
    assert categories[1] == "person"
    assert categories[53] == "apple"
    ids = [entry["id"] for entry in instances["annotations"]]
    assert len(ids) == len(set(ids)) > 18
    assert all(entry["category_id"] in categories for entry in instances["annotations"])
    assert all(image["license"] in {one["id"] for one in instances["licenses"]} for image in images.values())


def test_boxes_lie_inside_their_pictures(instances: dict[str, Any]) -> None:
    images = {image["id"]: image for image in instances["images"]}
    for entry in instances["annotations"]:
        x, y, width, height = entry["bbox"]
        image = images[entry["image_id"]]
        assert min(x, y) >= 0
        assert min(width, height) >= 2
        assert x + width <= image["width"] + 0.01
        assert y + height <= image["height"] + 0.01
        assert entry["area"] == pytest.approx(width * height, abs=0.01)


def test_ordinary_pictures_are_of_the_size_the_annotations_say(painted: Path, instances: dict[str, Any]) -> None:
    strange = {
        find(painted, "72 x 64"),
        find(painted, "a copy"),
        find(painted, "orientation"),
        find(painted, "cut off"),
    }
    for image in instances["images"]:
        path = painted / "coco/images" / image["file_name"]
        if path not in strange:
            with Image.open(path) as photo:
                assert photo.size == (image["width"], image["height"])
                assert min(photo.size) == 256


def test_every_scene_is_in_colour() -> None:
    for scene in {*sample.CLASSES.values(), *sample.COCO_SCENES}:
        picture = sample.paint(scene, 5, 2, 1)[1].astype(float)
        assert np.ptp(picture, axis=2).mean() > 12, scene.__name__
        assert picture.std() > 12, scene.__name__


def test_the_oddities_are_odd(painted: Path) -> None:
    assert len(odd(painted)) == 7
    with Image.open(find(painted, "greyscale")) as photo:
        assert photo.mode == "L"
    with Image.open(find(painted, "CMYK")) as photo:
        assert photo.mode == "CMYK"
    with Image.open(find(painted, "72 x 64")) as photo:
        assert photo.size == (72, 64)
    with Image.open(find(painted, "near grey")) as photo:
        spread = np.ptp(np.asarray(photo).astype(int), axis=2).mean()
        assert photo.mode == "RGB"
        assert 0 < spread < 10
    truncated = Image.open(find(painted, "cut off"))
    with pytest.raises(OSError, match="truncated"):
        truncated.load()


def test_the_duplicate_has_its_original_beside_it(painted: Path) -> None:
    copied = find(painted, "a copy")
    twins = [
        name
        for name, digest in digests(painted).items()
        if digest == digests(painted)[str(copied.relative_to(painted))]
    ]
    assert len(twins) == 2


def test_the_turned_picture_stands_up_again(tmp_path: Path) -> None:
    picture = sample.paint(sample.CLASSES["n02814860"], 3, 0, 0)[1]
    sample._turn(tmp_path / "turned.jpg", picture)
    with Image.open(tmp_path / "turned.jpg") as photo:
        assert photo.getexif()[sample.EXIF_ORIENTATION] == 6
        upright = np.asarray(ImageOps.exif_transpose(photo)).astype(int)
    assert upright.shape == picture.shape
    assert np.abs(upright - picture).mean() < 6


def test_too_few_pictures_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        sample.main([str(tmp_path), "--imagenet", "3", "--coco", "3"])
    assert "are 6; they must be 16 or more" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_canvas_paints_where_it_is_told() -> None:
    canvas = Canvas(64, 32, np.random.default_rng(0))
    canvas.polygon([(0, 0), (1, 0), (1, 1), (0, 1)], ink("ff0000"))
    canvas.ball((1.5, 0.5), 0.2, 0.2, [ink("000000"), ink("00ff00")], 1.0, 0.0)
    picture = canvas.picture()
    assert picture.shape == (32, 64, 3)
    assert picture[16, 8, 0] > 240
    assert picture[16, 48, 1] > picture[16, 48, 0] == 0
    assert picture[1, 62].max() == 0


def test_nothing_breaks_off_the_canvas() -> None:
    canvas = Canvas(32, 32, np.random.default_rng(0))
    canvas.polygon([(2, 2), (3, 2), (3, 3)], ink("ff0000"))
    canvas.oval((-2, 0.5), 0.3, 0.3, ink("ff0000"))
    canvas.glow((0.5, -3), 0.3, 0.3, ink("ff0000"), 1.0)
    assert canvas.picture().max() == 0


def test_gradients_end_at_their_inks() -> None:
    black, white = ink("000000"), ink("ffffff")
    assert ramp([black, white], [0.0, 0.25, 1.0])[:, 0].tolist() == [0, 0.25, 1]
    assert mix(black, white, 0.5).tolist() == [0.5, 0.5, 0.5]
