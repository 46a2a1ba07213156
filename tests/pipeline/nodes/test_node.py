"""What the programs of nodes have in common."""

from pipeline.nodes import node


def test_outputs_below_the_mount_of_buckets_are_written_by_their_address():
    assert node.address("/gcs/bucket/root/output") == "gs://bucket/root/output"
    assert node.address("gs://bucket/output") == "gs://bucket/output"
    assert node.address("/tmp/output") == "/tmp/output"


def test_an_output_in_a_bucket_is_read_again(gs_workspace, cloud_environment):
    path = f"/gcs/{gs_workspace.removeprefix('gs://')}/node/output"

    node.write(path, "text")

    assert node.read(path) == node.read(node.address(path)) == b"text"
