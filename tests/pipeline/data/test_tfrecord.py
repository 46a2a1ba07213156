"""Records are what TensorFlow writes and reads."""

import io

import pytest

from pipeline.data import tfrecord
from pipeline.data.tfrecord import BrokenRecords, Example

EXAMPLES = [
    Example(b"x" * size, label, span, "5e" * 32)
    for size in (0, 1, 100, 127, 128, 16_383, 16_384, 3_000_000)
    for label, span in (("cat", 1), ("Straße 8", 300), ("l" * 200, 10**12))
]


@pytest.fixture
def shard(tmp_path):
    with open(tmp_path / "shard", "wb") as file:
        taken = sum(tfrecord.append(file, *example) for example in EXAMPLES)
    assert (tmp_path / "shard").stat().st_size == taken
    return tmp_path / "shard"


def read(shard) -> list[Example]:
    with open(shard, "rb") as file:
        return list(map(tfrecord.parse, tfrecord.records(file, str(shard))))


@pytest.fixture
def first():
    file = io.BytesIO()
    tfrecord.append(file, *EXAMPLES[0])
    return file.getvalue()


def test_tensorflow_reads_what_is_written(shard):
    import tensorflow as tf

    kinds = {"image": tf.string, "label": tf.string, "span": tf.int64, "source": tf.string}
    features = {name: tf.io.FixedLenFeature([], kind) for name, kind in kinds.items()}
    parsed = [tf.io.parse_single_example(record, features) for record in tf.data.TFRecordDataset(str(shard))]
    found = [{name: value.numpy() for name, value in example.items()} for example in parsed]

    assert [Example(e["image"], e["label"].decode(), e["span"], e["source"].decode()) for e in found] == EXAMPLES


def test_what_tensorflow_writes_is_read(tmp_path):
    import tensorflow as tf

    def feature(value: bytes | int) -> tf.train.Feature:
        if isinstance(value, bytes):
            return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
        return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))

    with tf.io.TFRecordWriter(str(tmp_path / "shard")) as writer:
        for image, label, span, source in EXAMPLES:
            values = {"source": source.encode(), "span": span, "label": label.encode(), "image": image, "more": b"1"}
            features = tf.train.Features(feature={name: feature(value) for name, value in values.items()})
            writer.write(tf.train.Example(features=features).SerializeToString())

    assert read(tmp_path / "shard") == EXAMPLES


def test_what_is_written_is_read(shard):
    assert read(shard) == EXAMPLES


@pytest.mark.parametrize("at", [3, 9, 40, -70, -2])
def test_a_changed_byte_is_noticed(first, shard, at):
    data = bytearray(first)
    data[at] ^= 1
    shard.write_bytes(data)

    with pytest.raises(BrokenRecords, match="shard is damaged"):
        read(shard)


def test_a_record_that_is_cut_off_is_noticed(first, shard):
    for length in range(1, len(first)):
        shard.write_bytes(first[:length])
        with pytest.raises(BrokenRecords):
            read(shard)


def test_what_is_no_example_of_ours_is_refused():
    with pytest.raises(ValueError, match="not an example of a span"):
        tfrecord.parse(b"")
