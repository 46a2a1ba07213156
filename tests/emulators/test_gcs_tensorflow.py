"""TensorFlow's own client of gs:// against the local Cloud Storage."""

import json

PROGRAM = """
    import json, os, sys
    import tensorflow as tf

    root, found = sys.argv[1], {}
    files = tf.io.gfile

    with files.GFile(f"{root}/a/small.txt", "w") as file:
        file.write("first\\n")
    with files.GFile(f"{root}/a/small.txt", "a") as file:
        file.write("second\\n")
    found["text"] = files.GFile(f"{root}/a/small.txt").read()
    found["size"] = files.stat(f"{root}/a/small.txt").length

    large = os.urandom(20 << 20)
    with files.GFile(f"{root}/large", "wb") as file:
        for at in range(0, len(large), 3 << 20):
            file.write(large[at : at + (3 << 20)])
    with files.GFile(f"{root}/large", "rb") as file:
        file.seek(12345678)
        found["part"] = file.read(1000) == large[12345678 : 12345678 + 1000]
    found["large"] = files.GFile(f"{root}/large", "rb").read() == large

    files.makedirs(f"{root}/empty/folder")
    found["folder"] = files.isdir(f"{root}/empty/folder") and files.isdir(f"{root}/a")
    found["not there"] = files.exists(f"{root}/nothing")
    files.rename(f"{root}/a/small.txt", f"{root}/b/moved.txt")
    files.copy(f"{root}/b/moved.txt", f"{root}/b/copied.txt")
    found["glob"] = files.glob(f"{root}/b/*.txt")
    found["list"] = sorted(files.listdir(root))
    found["walk"] = [[folder, folders, names] for folder, folders, names in files.walk(f"{root}/b")]

    with tf.io.TFRecordWriter(f"{root}/records.tfrecord") as writer:
        for number in range(1000):
            writer.write(b"%d" % number)
    found["records"] = sum(1 for _ in tf.data.TFRecordDataset(f"{root}/records.tfrecord"))

    files.rmtree(f"{root}/b")
    files.remove(f"{root}/large")
    try:
        files.GFile(f"{root}/large", "rb").read()
    except tf.errors.NotFoundError:
        found["removed"] = True
    print(json.dumps(found))
"""


def test_tensorflow_reads_and_writes_a_bucket(cloud, gs_workspace, run_client):
    cloud.faults.add("storage", "objects.upload", target="*/large", kind="cut")
    cloud.faults.add("storage", "objects.upload", target="*/records.tfrecord", kind="lose")
    found = json.loads(run_client(PROGRAM, gs_workspace))

    assert found.pop("text") == "first\nsecond\n" and found.pop("size") == 13
    assert found.pop("glob") == [f"{gs_workspace}/b/copied.txt", f"{gs_workspace}/b/moved.txt"]
    assert found.pop("list") == ["b/", "empty/", "large"]
    assert found.pop("walk") == [[f"{gs_workspace}/b", [], ["copied.txt", "moved.txt"]]]
    assert found.pop("records") == 1000
    assert found == {"part": True, "large": True, "folder": True, "not there": False, "removed": True}
    left = [name.partition("/")[2] for name in cloud.gcs.names(gs_workspace)]
    assert left == ["empty/", "empty/folder/", "records.tfrecord"]

    assert {call.principal for call in cloud.asked("storage")} == {cloud.account}
    large = [(call.fault, call.status) for call in cloud.asked("storage", "objects.upload") if "/large" in call.target]
    assert large == [("cut", 0), ("", 308), ("", 200)]
