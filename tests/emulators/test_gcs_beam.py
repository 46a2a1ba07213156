"""Apache Beam's client of gs:// against the local Cloud Storage."""

import json

PROGRAM = """
    import json, os, sys
    import apache_beam as beam
    from apache_beam.io.filesystems import FileSystems
    from apache_beam.io.gcp.gcsio import GcsIO
    from apache_beam.options.pipeline_options import PipelineOptions

    root, found = sys.argv[1], {}
    large = os.urandom(20 << 20)
    with FileSystems.create(f"{root}/large") as file:
        file.write(large)
    with FileSystems.open(f"{root}/large") as file:
        found["large"] = file.read() == large

    options = PipelineOptions(["--runner=BundleBasedDirectRunner", f"--temp_location={root}/temp"])
    with beam.Pipeline("apache_beam.runners.direct.direct_runner.BundleBasedDirectRunner", options) as pipeline:
        lines = pipeline | beam.Create(range(100)) | beam.Map(str)
        lines | beam.io.WriteToText(f"{root}/out", num_shards=3)
    found["match"] = [file.path for file in FileSystems.match([f"{root}/out*"])[0].metadata_list]
    with beam.Pipeline("apache_beam.runners.direct.direct_runner.BundleBasedDirectRunner", options) as pipeline:
        read = pipeline | beam.io.ReadFromText(f"{root}/out*") | beam.combiners.Count.Globally()
        read | beam.Map(lambda count: count if count == 100 else 1 / 0)

    files = GcsIO()
    copied = files.copy_batch([(path, f"{path}-copy") for path in found["match"]])
    found["copied"] = [error for *_, error in copied]
    deleted = files.delete_batch([*found["match"], f"{root}/nothing"])
    found["deleted"] = [error for _, error in deleted]
    FileSystems.rename([f"{root}/large"], [f"{root}/renamed"])
    found["sizes"] = {path: size for path, (size, _) in files.list_files(f"{root}/renamed", True)}
    print(json.dumps(found, default=str))
"""


def test_beam_reads_and_writes_a_bucket(cloud, gs_workspace, run_client):
    found = json.loads(run_client(PROGRAM, gs_workspace))

    assert found["large"]
    shards = [f"{gs_workspace}/out-0000{number}-of-00003" for number in range(3)]
    assert found["match"] == shards
    assert found["copied"] == [None] * 3
    assert found["deleted"][:3] == [None] * 3
    assert found["sizes"] == {f"{gs_workspace}/renamed": 20 << 20}
    prefix = gs_workspace.removeprefix(f"gs://{cloud.bucket}/")
    copies = [f"{prefix}/out-0000{number}-of-00003-copy" for number in range(3)]
    assert cloud.gcs.names(gs_workspace) == [*copies, f"{prefix}/renamed"]
    assert {call.principal for call in cloud.asked("storage")} == {cloud.account}
    assert cloud.asked("storage", "batch")
