"""Images that a list names, with labels and groups: CSV and JSON lines, local and in a bucket."""

import json
import os

import pytest

from pipeline.data import spans
from pipeline.data.incoming import collected
from pipeline.errors import NoCredentials, UsageError
from tests.conftest import encoded, jpeg, noise, put
from tests.pipeline.data.test_spans import sha256
from tests.places import in_a_folder

IMAGES = {f"photos/{number}.jpg": jpeg(number) for number in range(4)}
ROWS = [("photos/0.jpg", "cat", "a"), ("photos/1.jpg", "big dog", "b"), ("photos/2.jpg", "cat", "a")]
LISTS = {
    "plain.csv": "".join(f"{image},{label},{group}\n" for image, label, group in ROWS),
    "header.csv": "label,group,image\n" + "".join(f"{label},{group},{image}\n" for image, label, group in ROWS),
    "lines.jsonl": "".join(json.dumps(dict(zip(("image", "label", "group"), row, strict=True))) + "\n" for row in ROWS),
}


@pytest.mark.parametrize("name", LISTS)
def test_a_list_gives_labels_and_groups(storage, workspace, tmp_path, name):
    put(tmp_path, IMAGES | {name: LISTS[name].encode()})

    prepared = spans.import_folder(storage, str(tmp_path / name))

    assert (prepared.images, prepared.labels) == (3, {"cat": 2, "big dog": 1})
    (span,) = spans.published(storage)
    assert [(source.label, source.group) for source in span.sources] == [(label, group) for _, label, group in ROWS]


def test_lists_as_vertex_ai_imports_them(storage, workspace, cloud_environment, gs_workspace, tmp_path):
    place = f"{gs_workspace}-images"
    for name, data in IMAGES.items():
        cloud_environment.gcs.put(f"{place}/{name}", data)
    rows = [f"training,{place}/photos/0.jpg,cat", f"{place}/photos/1.jpg,dog", f"test,{place}/photos/9.jpg,dog"]
    line = {"imageGcsUri": f"{place}/photos/2.jpg", "classificationAnnotation": {"displayName": "owl"}}
    cloud_environment.gcs.put(f"{place}/list.csv", "\n".join(rows).encode())
    put(tmp_path, {"list.jsonl": json.dumps(line).encode()})

    first = spans.import_folder(storage, f"{place}/list.csv")
    second = spans.import_folder(storage, str(tmp_path / "list.jsonl"))

    assert first.labels == {"cat": 1, "dog": 1} and second.labels == {"owl": 1}
    assert [bad.reason.startswith("cannot be read") for bad in first.rejected] == [True]


@pytest.mark.parametrize(
    "name, text, message",
    [
        ("list.csv", "", "names no image"),
        ("list.csv", "photos/0.jpg\n", "line 1: 'photos/0.jpg' does not name an image and its label"),
        ("list.jsonl", '{"image": "photos/0.jpg"}\n', "line 1 does not name an image and its label"),
        ("list.csv", 'photos/0.jpg,"cat\nphotos/1.jpg,dog\n', "line 2 cannot be read: unexpected end of data"),
        ("list.csv", f"photos/0.jpg,{'l' * 200_000}\n", "line 1 cannot be read: field larger than"),
        (
            "list.csv",
            "image,group\nphotos/0.jpg,a\n",
            "line 1 names the column of the image, but not that of the label",
        ),
        ("list.csv", "training,photos/0.jpg,cat,dog\n", "line 1: 'training,photos/0.jpg,cat,dog' names several labels"),
        ("list.csv", "photos/0.jpg,cat,a\nphotos/0.jpg,cat,b\n", "'photos/0.jpg' in two groups, 'a' and 'b': keep one"),
        ("list.jsonl", "[]\n", "line 1 does not name an image and its label"),
        ("list.jsonl", '{"image": ["photos/0.jpg"], "label": "cat"}\n', "line 1 does not name"),
        ("list.jsonl", f'{{"image": {"[" * 100_000}\n', "line 1 does not name"),
    ],
)
def test_a_list_that_says_nothing_is_a_wrong_argument(storage, tmp_path, name, text, message):
    put(tmp_path, IMAGES | {name: text.encode()})

    with pytest.raises(UsageError, match=message):
        spans.import_folder(storage, str(tmp_path / name))
    with pytest.raises(UsageError, match="cannot be read as a list of images"):
        spans.import_folder(storage, str(tmp_path / "absent.csv"))


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
@in_a_folder
def test_a_list_in_another_encoding_is_named(storage, tmp_path, encoding):
    (tmp_path / "list.csv").write_bytes("photos/0.jpg,Kätzchen\n".encode(encoding))

    with pytest.raises(UsageError, match="it is not in UTF-8. Save it as UTF-8"):
        spans.import_folder(storage, str(tmp_path / "list.csv"))


@pytest.mark.parametrize(
    "name, text",
    [
        ("list.csv", "\ufeffimage,label\r\nphotos/0.jpg,cat\r\n\r\nphotos/1.jpg,dog\r\n"),
        ("list.csv", "photos/0.jpg,cat\rphotos/1.jpg,dog\r"),
        ("list.csv", " photos/0.jpg , cat ,\nphotos/1.jpg,dog,,,\n"),
        ("list.csv", 'id,label,split,image\n1,"cat",train,photos/0.jpg\n2,dog,val,"photos/1.jpg"\n'),
        ("list.jsonl", '\ufeff{"image":"photos/0.jpg","label":"cat"}\r\n{"image":"photos/1.jpg","label":"dog"}\r'),
    ],
)
@in_a_folder
def test_lists_are_read_as_spreadsheets_and_editors_save_them(storage, tmp_path, name, text):
    put(tmp_path, IMAGES | {name: text.encode()})

    imported = spans.import_folder(storage, str(tmp_path / name))

    assert (imported.labels, imported.rejected) == ({"cat": 1, "dog": 1}, ())


@in_a_folder
def test_of_a_file_elsewhere_that_is_no_image_no_copy_is_kept(storage, workspace, tmp_path):
    put(tmp_path, {"secret": b"of somebody", "list/text.png": b"no picture", "outside.jpg": jpeg(5)})
    (tmp_path / "list/link.png").symlink_to(tmp_path / "secret")
    rows = ["link.png", "../secret", str(tmp_path / "secret"), "text.png", str(tmp_path / "outside.jpg"), "http://a/b"]
    (tmp_path / "list/list.csv").write_text("".join(f"{row},cat\n" for row in rows))

    imported = spans.import_folder(storage, str(tmp_path / "list/list.csv"))

    assert imported.images == 1 and len(imported.rejected) == 5
    assert imported.rejected[-1].reason == "cannot be read: 'http://a/b' is neither a path nor gs://BUCKET/NAME"
    assert b"of somebody" not in workspace.rejected().values() and b"no picture" in workspace.rejected().values()


@in_a_folder
def test_without_credentials_no_image_is_rejected(storage, workspace, tmp_path, monkeypatch):
    put(tmp_path, IMAGES | {"list.csv": b"gs://somewhere/0.jpg,cat\nphotos/1.jpg,dog\n"})
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "absent.json"))

    with pytest.raises(NoCredentials):
        spans.import_folder(storage, str(tmp_path / "list.csv"))
    assert workspace.rejected() == {}


@in_a_folder
def test_whatever_a_list_names_the_others_are_imported(storage, workspace, tmp_path):
    put(tmp_path, IMAGES)
    os.mkfifo(tmp_path / "pipe")
    odd = [
        "absent\0",
        "\ud800",
        "\udc80.png",
        "gs://",
        "pipe",
        "photos",
        "../x",
        "/dev/zero",
        "n" * 5000,
        "plain/plain",
    ]
    lines = [{"image": image, "label": label} for image in odd for label in ("cat", "\ud800", "a\0", "..", "l" * 300)]
    lines += [
        {"image": f"photos/{number}.jpg", "label": label, "group": "\udc80"}
        for number, label in enumerate((0, "..", "a/b", "c" * 300))
    ]
    (tmp_path / "list.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))

    collected_ones = collected.add(storage, str(tmp_path / "list.jsonl"))
    imported = spans.import_folder(storage, str(tmp_path / "list.jsonl"))

    assert imported.labels == {"0": 1, "..": 1, "a/b": 1, "c" * 300: 1}
    assert len(imported.rejected) == 5 * len(odd)
    assert collected_ones.labels == {"0": 1}
    reasons = [bad.reason for bad in collected_ones.rejected]
    assert len(reasons) == 5 * len(odd) + 3
    assert "unknown label: 'a/b' is no folder's name; import it without --collect" in reasons


def test_labels_in_flat_names_have_to_be_clear(storage, workspace, tmp_path):
    put(
        tmp_path / "pets",
        {f"american_bulldog_{number}.jpg": jpeg(number) for number in range(3)} | {"pug_1.jpg": jpeg(9)},
    )

    with pytest.raises(UsageError, match="american 3, pug 1: .* american_bulldog 3, pug 1: --label-separator last"):
        spans.import_folder(storage, str(tmp_path / "pets"))
    assert workspace.files() == {} or not workspace.files("spans")
    prepared = spans.import_folder(storage, str(tmp_path / "pets"), separator="last")
    assert prepared.labels == {"american_bulldog": 3, "pug": 1}


def test_images_of_other_formats_are_converted_from_lists_and_buckets(storage, cloud_environment, gs_workspace):
    place, original = f"{gs_workspace}-images", encoded(noise(1, "RGB", (16, 16)), "TIFF")
    cloud_environment.gcs.put(f"{place}/cat/1.tif", original)
    cloud_environment.gcs.put(f"{place}/list.csv", b"cat/1.tif,cat,day 1\n")

    prepared = spans.import_folder(storage, f"{place}/list.csv", convert=True)
    again = spans.import_folder(storage, place, convert=True)

    assert prepared.labels == {"cat": 1}
    assert (again.images, again.duplicates, [bad.name for bad in again.rejected]) == (0, 1, ["list.csv"])
    (source,) = spans.published(storage)[0].sources
    assert (source.group, source.original) == ("day 1", sha256(original))
