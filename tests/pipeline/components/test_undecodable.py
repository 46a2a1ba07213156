"""Images that TensorFlow cannot decode are left out of a pipeline's examples and named; more than 1 % are an error."""

import os

import pytest

from pipeline.components.span_example_gen import copy_span
from pipeline.components.undecodable import decodes, leave_out, left_out_of, named
from pipeline.data import spans, tfrecord
from pipeline.errors import UndecodedImages
from pipeline.storage.folder import Folder
from tests.conftest import encoded, examples_of, jpeg, noise, photographs

PNG = encoded(noise(1, "RGB", (16, 16)), "PNG")
BROKEN = [jpeg(1000)[:-60], PNG[:-30], b"no image"]


@pytest.fixture
def spoiled(workspace, tmp_path):
    """A function that publishes photographs, and breaks the last bytes of some in the examples made of their span."""

    def make(photos: int, broken: int):
        workspace.collect(photographs(range(photos)))
        spans.prepare(Folder(workspace.address))
        (span,) = spans.published(Folder(workspace.address))
        copy_span(Folder(workspace.address), span, str(tmp_path))
        (path,) = (tmp_path / "Split-eval").iterdir()
        examples = examples_of(path.read_bytes())
        path.unlink()  # another name of the shard, which has to stay as it is
        with open(path, "wb") as file:
            for number, example in enumerate(examples):
                image = example.image[:-60] if number < broken else example.image
                tfrecord.append(file, image, example.label, 1, example.source)
        return span, path, examples

    return make


def test_broken_images_are_left_out_of_the_examples_and_named(spoiled, tmp_path):
    span, path, examples = spoiled(400, broken=3)

    leave_out(str(tmp_path), [span])

    assert examples_of(path.read_bytes()) == examples[3:]
    assert left_out_of(str(tmp_path)) == {example.source for example in examples[:3]}
    names = {source.sha256: source.name for source in span.sources}
    found = named(left_out_of(str(tmp_path)), [span])
    assert {one.name for one in found} == {f"span-0001/{names[example.source]}" for example in examples[:3]}
    assert not list(tmp_path.glob("*.new"))


def test_more_than_one_in_a_hundred_are_an_error(spoiled, tmp_path):
    span, *_ = spoiled(200, broken=3)

    with pytest.raises(UndecodedImages, match="3 of 200 images cannot be decoded, more than 1 %: span-0001/.*withdraw"):
        leave_out(str(tmp_path), [span])


def test_a_published_shard_stays_as_it_is(spoiled, tmp_path):
    span, path, examples = spoiled(200, broken=1)
    published = tmp_path / "shard"
    os.link(path, published)

    leave_out(str(tmp_path), [span])

    assert len(examples_of(published.read_bytes())) == len(examples) == len(examples_of(path.read_bytes())) + 1


def test_examples_of_good_images_are_not_written_again(spoiled, tmp_path):
    span, path, _ = spoiled(20, broken=0)
    before = path.stat()

    leave_out(str(tmp_path), [span])

    after = path.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert left_out_of(str(tmp_path)) == set() == left_out_of(str(tmp_path / "elsewhere"))


@pytest.mark.parametrize("data, good", [(jpeg(1), True), (PNG, True), *((data, False) for data in BROKEN)])
def test_what_tensorflow_decodes_is_good(data, good):
    assert decodes(data) == good
