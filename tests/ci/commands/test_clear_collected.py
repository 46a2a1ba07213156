"""Making room for images that can be evaluated."""


def test_what_cannot_be_used_is_moved_away_with_its_reason(ci, collect, workspace):
    collect(4)
    (workspace / "collected" / "cat" / "copy.png").write_bytes((workspace / "collected" / "cat" / "0.png").read_bytes())
    (workspace / "collected" / "cat" / "broken.png").write_bytes(b"no picture")

    done = ci("clear-collected", "--json")

    assert done.code == 0 and done.json["archived"] == 0
    assert {bad["name"] for bad in done.json["rejected"]} >= {"cat/broken.png"} and len(done.json["rejected"]) == 2
    assert "2 images could not be used" in done.err
    assert len(list((workspace / "collected").rglob("*.png"))) == 4


def test_with_nothing_to_clear_nothing_changes(ci, collect, workspace):
    collect(4)

    assert ci("clear-collected", "--json").json == {"archived": 0, "rejected": []}
    assert len(list((workspace / "collected").rglob("*.png"))) == 4
