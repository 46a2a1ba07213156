"""What a SavedModel may do, by models that TensorFlow itself has written, hostile ones among them."""

import os
import re
import shutil

import pytest

from pipeline.errors import UnsafeModel
from pipeline.releases import model_ops
from pipeline.releases.archive import ARCHIVE, pack, sha256
from pipeline.releases.factory import open_releases
from pipeline.releases.saved_model import FILE, OTHERS, check

SECRET = "/etc/hostname"


@pytest.fixture(scope="module")
def tf():
    return pytest.importorskip("tensorflow")


@pytest.fixture
def save(tf, tmp_path):
    """Saves a model that classifies by `function`, tensor of texts -> tensor; returns its folder."""

    def save(function, **kept) -> str:
        module, folder = tf.Module(), str(tmp_path / "model")
        module.kept = kept
        module.serve = tf.function(function, input_signature=[tf.TensorSpec([None], tf.string, name="image")])
        tf.saved_model.save(module, folder, signatures={"serving_default": module.serve})
        return folder

    return save


def reads_a_file(tf, image):
    return tf.strings.join([image, tf.io.read_file(SECRET)])


def writes_a_file(tf, image):
    tf.io.write_file("/tmp/written", image[0])
    return image


def lists_files(tf, image):
    return tf.io.matching_files("/home/*")


def runs_python(tf, image):
    return tf.py_function(lambda text: text, [image], tf.string)


def runs_python_of_numpy(tf, image):
    return tf.numpy_function(lambda text: text, [image], tf.string)


def reads_records(tf, image):
    return tf.data.TFRecordDataset(image).reduce(tf.constant(""), lambda _, record: record)


def reads_lines(tf, image):
    return tf.data.TextLineDataset(image).reduce(tf.constant(""), lambda _, line: line)


def saves(tf, image):
    tf.raw_ops.SaveV2(prefix="/tmp/saved", tensor_names=["a"], shape_and_slices=[""], tensors=[image])
    return image


def restores(tf, image):
    return tf.raw_ops.RestoreV2(prefix=image[0], tensor_names=["a"], shape_and_slices=[""], dtypes=[tf.string])[0]


def prints_to_a_file(tf, image):
    tf.print(image, output_stream="file:///tmp/printed")
    return image


def maps_a_file(tf, image):
    return tf.raw_ops.ImmutableConst(dtype=tf.float32, shape=[1], memory_region_name=SECRET)


def reads_a_description(tf, image):
    return tf.io.decode_proto(image, "a.Message", ["field"], [tf.int32], descriptor_source=SECRET).values[0]


def sends_a_summary(tf, image):
    writer = tf.raw_ops.SummaryWriter(shared_name="a", container="")
    tf.raw_ops.CreateSummaryFileWriter(
        writer=writer, logdir="/tmp/logs", max_queue=1, flush_millis=1, filename_suffix=""
    )
    return image


HOSTILE = {
    "ReadFile": reads_a_file,
    "WriteFile": writes_a_file,
    "MatchingFiles": lists_files,
    "EagerPyFunc": runs_python,
    "PyFunc": runs_python_of_numpy,
    "TFRecordDataset": reads_records,
    "TextLineDataset": reads_lines,
    "SaveV2": saves,
    "RestoreV2": restores,
    "PrintV2": prints_to_a_file,
    "ImmutableConst": maps_a_file,
    "DecodeProtoV2": reads_a_description,
    "SummaryWriter": sends_a_summary,
}


@pytest.mark.parametrize("op", HOSTILE)
def test_an_operation_that_reaches_out_is_refused_by_its_name(tf, save, op):
    folder = save(lambda image: {"label": HOSTILE[op](tf, image)})
    with pytest.raises(UnsafeModel, match=rf"^The model is refused: it has the operation {op}\w* \(node '.+' of __inf"):
        check(folder, "The model")


@pytest.mark.parametrize("where", ["a function", "a branch", "a loop", "a dataset"])
def test_an_operation_deep_in_nested_functions_is_found(tf, save, where):
    @tf.function
    def inner(image):
        return tf.io.read_file(image)

    def outer(image):
        if where == "a function":
            return tf.function(lambda each: inner(each))(image[0])
        if where == "a branch":
            return tf.cond(tf.size(image) > 3, lambda: inner(image[0]), lambda: image[0])
        if where == "a loop":
            return tf.while_loop(lambda each: tf.strings.length(each) < 9, lambda each: [inner(each)], [image[0]])[0]
        return tf.data.Dataset.from_tensors(image[0]).map(inner).get_single_element()

    with pytest.raises(UnsafeModel, match="the operation ReadFile "):
        check(save(lambda image: {"label": outer(image)}), "The model")


def table(tf, file):
    whole, number = tf.lookup.TextFileIndex.WHOLE_LINE, tf.lookup.TextFileIndex.LINE_NUMBER
    initializer = tf.lookup.TextFileInitializer(file, tf.string, whole, tf.int64, number)
    return tf.lookup.StaticHashTable(initializer, -1)


def test_a_table_of_an_asset_is_allowed_and_one_of_any_other_file_is_not(tf, save, tmp_path):
    (tmp_path / "labels").write_text("cat\ndog\n")
    found = table(tf, str(tmp_path / "labels"))
    folder = save(lambda image: {"label": found.lookup(image)}, table=found)
    check(folder, "The model")
    os.unlink(os.path.join(folder, "assets", "labels"))
    with pytest.raises(UnsafeModel, match="its asset 'labels' is no file in assets/"):
        check(folder, "The model")


def from_a_constant(tf, handle, image):
    tf.raw_ops.InitializeTableFromTextFileV2(table_handle=handle, filename=SECRET, key_index=-2, value_index=-1)


def from_an_image(tf, handle, image):
    tf.raw_ops.InitializeTableFromTextFileV2(table_handle=handle, filename=image[0], key_index=-2, value_index=-1)


@pytest.mark.parametrize("fill", [from_a_constant, from_an_image])
def test_a_table_of_a_file_that_is_no_asset_is_refused(tf, save, fill):
    def serve(image):
        handle = tf.raw_ops.HashTableV2(key_dtype=tf.string, value_dtype=tf.int64, shared_name="a")
        fill(tf, handle, image)
        return {"size": tf.raw_ops.LookupTableSizeV2(table_handle=handle)}

    reason = "InitializeTableFromTextFileV2 .*, which reads a file that is none of its assets"
    with pytest.raises(UnsafeModel, match=reason):
        check(save(serve), "The model")


@pytest.mark.parametrize("name", ["../variables/variables.index", "/etc/hostname"])
def test_an_asset_outside_of_its_folder_is_refused(tf, save, tmp_path, name):
    (tmp_path / "labels").write_text("cat\ndog\n")
    found = table(tf, str(tmp_path / "labels"))
    folder = save(lambda image: {"label": found.lookup(image)}, table=found)
    change(folder, lambda graph: setattr(graph.asset_file_def[0], "filename", name))
    with pytest.raises(UnsafeModel, match=re.escape(f"its asset {name!r} is no file in assets/")):
        check(folder, "The model")


def change(folder, how) -> None:
    """Changes the MetaGraphDef of a saved model in place, as who forges one can."""
    from tensorflow.core.protobuf import saved_model_pb2

    path, saved = os.path.join(folder, FILE), saved_model_pb2.SavedModel()
    with open(path, "rb") as file:
        saved.ParseFromString(file.read())
    how(saved.meta_graphs[0])
    with open(path, "wb") as file:
        file.write(saved.SerializeToString())


def saver_functions(graph) -> dict[str, object]:
    return {
        ours: f for f in graph.graph_def.library.function for ours in ("save", "restore") if ours in f.signature.name
    }


def test_restoring_is_allowed_in_the_saver_alone(tf, save):
    folder = save(lambda image: {"label": image}, weights=tf.Variable([1.0]))
    check(folder, "The model")

    def call_it_elsewhere(graph):
        name = saver_functions(graph)["restore"].signature.name
        graph.graph_def.node.add(name="again", op="PartitionedCall", input=["saver_filename"]).attr["f"].func.name = (
            name
        )

    change(folder, call_it_elsewhere)
    with pytest.raises(UnsafeModel, match="the operation RestoreV2 .* outside of its saver"):
        check(folder, "The model")


def test_a_restoring_function_cannot_write(tf, save):
    folder = save(lambda image: {"label": image}, weights=tf.Variable([1.0]))

    def write_too(graph):
        functions = saver_functions(graph)
        writes = next(node for node in functions["save"].node_def if node.op == "SaveV2")
        functions["restore"].node_def.add().CopyFrom(writes)

    change(folder, write_too)
    with pytest.raises(UnsafeModel, match="the operation SaveV2 .* outside of its saver"):
        check(folder, "The model")


def field(number: int, *data: bytes) -> bytes:
    """A field of a message, of less than 128 bytes, once for each of `data`."""
    return b"".join(bytes([number << 3 | 2, len(each)]) + each for each in data)


def node(name: bytes, *ops: bytes) -> bytes:
    return field(1, field(1, name) + field(2, *ops))


NOTHING, READS = node(b"a", b"NoOp"), node(b"b", b"ReadFile")


@pytest.mark.parametrize(
    "graph, reason",
    [
        (field(2, NOTHING, READS), r"the operation ReadFile \(node 'b' of the graph\)"),  # a parser joins the two
        (field(2, node(b"a", b"ReadFile", b"NoOp")), "a text is there twice"),
        (field(2, NOTHING + NOTHING), "two nodes"),
        (field(2, field(2, field(1, field(3, READS[2:])))), "or two functions, of one name"),  # a function without one
        (field(2, node(b"a", b"reads") + field(2, field(1, field(1, field(1, b"reads"))))), "the operation reads "),
    ],
)
def test_a_forged_graph_hides_nothing(tmp_path, graph, reason):
    (tmp_path / FILE).write_bytes(field(2, graph))
    with pytest.raises(UnsafeModel, match=reason):
        check(str(tmp_path), "The model")


@pytest.mark.parametrize("name", OTHERS)
def test_a_graph_in_another_form_is_refused(tf, save, name):
    folder = save(lambda image: {"label": image})
    shutil.copy(os.path.join(folder, FILE), os.path.join(folder, name))
    with pytest.raises(UnsafeModel, match=f"it has a {name}"):
        check(folder, "The model")


@pytest.mark.parametrize("data", [b"no graph", b"\x12", b"\x12\x7f", b"\x12\x02\x12\x05", b"\xff" * 20, b"\x13"])
def test_what_is_no_graph_is_refused(tmp_path, data):
    (tmp_path / FILE).write_bytes(data)
    with pytest.raises(UnsafeModel, match="its graph is damaged"):
        check(str(tmp_path), "The model")


def test_a_graph_that_would_fill_the_memory_is_refused(tmp_path):
    with open(tmp_path / FILE, "wb") as file:
        file.truncate(8 << 30)
    with pytest.raises(UnsafeModel, match="has more than 536,870,912 bytes"):
        check(str(tmp_path), "The model")


def test_a_folder_without_a_graph_is_refused(tmp_path):
    with pytest.raises(UnsafeModel, match=f"it has no {FILE}"):
        check(str(tmp_path), "The model")


def test_allowed_operations_exist_and_none_reaches_out(tf):
    listed = model_ops.ALLOWED | model_ops.SAVING | model_ops.RESTORING | model_ops.READS_ASSET
    assert not [name for name in listed if not hasattr(tf.raw_ops, name)], "an operation is misspelled"
    reaching = (
        "File|PyFunc|Record|Save|Restore|Summary|Print|Debug|Rpc|Remote|^Copy|Reader|Host|Send|Recv|Proto|Immutable"
    )
    assert not [name for name in model_ops.ALLOWED if re.search(reaching, name)]
    assert not set(HOSTILE) & model_ops.ALLOWED


def test_the_model_of_this_repository_is_allowed(saved_model):
    check(saved_model, "The model")


def test_a_hostile_release_is_refused_before_it_is_there(tf, save, tmp_path):
    releases = open_releases(str(tmp_path / "releases"))
    good = save(lambda image: {"label": image})
    details = {"modules_digest": "a" * 64, "spans": [1], "labels": ["cat"], "metrics": {"accuracy": 0.9}}
    release = releases.publish(good, identity="one", commit="b" * 40, previous=None, **details)
    shutil.rmtree(good)
    hostile = save(lambda image: {"label": tf.io.read_file(image[0])})
    with pytest.raises(UnsafeModel, match="^The trained model is refused: it has the operation ReadFile"):
        releases.publish(hostile, identity="two", commit="b" * 40, previous=None, **details)

    archive = tmp_path / "releases" / release.tag / ARCHIVE
    former = sha256(str(archive))
    archive.unlink()
    pack(hostile, str(archive))
    record = archive.with_name("model.json")
    record.write_text(record.read_text().replace(former, sha256(str(archive))))
    with pytest.raises(UnsafeModel, match="^The model of release model-1 is refused: it has the operation ReadFile"):
        releases.fetch(releases.newest(), str(tmp_path / "fetched"))
    assert not (tmp_path / "fetched").exists()
