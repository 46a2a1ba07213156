"""Two cameras that saw different digits, each always the same."""

import io
import subprocess
import sys

import numpy
import pytest
from PIL import Image

from pipeline.data import digits


def pixels(image: bytes) -> numpy.ndarray:
    opened = Image.open(io.BytesIO(image))
    assert (opened.format, opened.mode, opened.size) == ("PNG", "L", (digits.SIZE, digits.SIZE))
    return numpy.asarray(opened)


@pytest.fixture(scope="module")
def first():
    return dict(digits.images(digits.FIRST))


@pytest.fixture(scope="module")
def changed():
    return dict(digits.images(digits.CHANGED))


def test_no_digit_was_seen_by_both_cameras_and_none_is_left_out(first, changed):
    assert (len(first), len(changed)) == (1000, 797)
    numbers = sorted(name.split("/")[1] for name in [*first, *changed])
    assert numbers == [f"digit-{number:04d}.png" for number in range(1797)]


@pytest.mark.parametrize("camera", ["first", "changed"])
def test_each_camera_saw_every_label_often(request, camera):
    labels = [name.split("/")[0] for name in request.getfixturevalue(camera)]

    assert set(labels) == set("0123456789")
    assert min(map(labels.count, set(labels))) > 0.06 * len(labels)


def test_the_first_camera_shows_bright_on_black_and_the_changed_one_dark_on_white(first, changed):
    assert numpy.mean([pixels(image) for image in first.values()]) < 80
    assert numpy.mean([pixels(image) for image in changed.values()]) > 175


def test_no_two_images_are_the_same(first, changed):
    assert len({*first.values(), *changed.values()}) == 1797


def test_a_part_holds_the_same_images_as_the_whole(changed):
    part = list(digits.images(digits.CHANGED, skip=40, limit=20))

    assert part == list(changed.items())[40:60]
    assert list(digits.images(digits.CHANGED, skip=780, limit=100)) == list(changed.items())[780:]


def test_another_seed_tilts_and_blurs_otherwise(changed):
    name, image = next(digits.images(digits.CHANGED, seed=1))

    assert image != changed[name]
    assert [(name, image)] == list(digits.images(digits.CHANGED, limit=1, seed=1))


def test_they_are_written_by_label(tmp_path, first):
    assert digits.write(str(tmp_path), digits.FIRST, limit=30) == 30

    written = {str(path.relative_to(tmp_path)): path.read_bytes() for path in tmp_path.glob("*/*.png")}
    assert written == dict(list(first.items())[:30])


def test_nothing_heavy_is_imported_before_images_are_asked_for():
    program = "import sys, pipeline.data.digits; print([n for n in ('numpy', 'PIL', 'sklearn') if n in sys.modules])"

    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "[]\n"
