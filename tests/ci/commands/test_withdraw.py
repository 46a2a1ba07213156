"""Published images are withdrawn, and erased."""

from tests.ci.conftest import picture


def test_a_withdrawn_image_counts_no_more(ci, collect):
    collect(5)
    ci("prepare-span")

    done = ci("withdraw", "cat/0.png", "--why", "not ours", "--json")

    assert (done.json["withdrawn"], done.json["spans"], done.json["erased"], done.json["seen_by"]) == (1, [1], 0, {})
    status = ci("status", "--json")
    assert status.json["spans"] == [{"span": 1, "images": 4, "labels": {"cat": 2, "dog": 2}}]
    assert "1 withdrawn" in status.err


def test_erased_bytes_are_nowhere(ci, collect, workspace):
    collect(5)
    ci("prepare-span")

    first, again = (ci("withdraw", "cat/0.png", "--why", "asked for", "--erase", "--json") for _ in range(2))

    assert (first.json["withdrawn"], first.json["erased"]) == (1, 2)
    assert (again.code, again.json["withdrawn"], again.json["erased"]) == (0, 0, 0)
    assert first.json["out_of_reach"]
    assert not [path for path in workspace.rglob("*") if path.is_file() and picture(0) in path.read_bytes()]
