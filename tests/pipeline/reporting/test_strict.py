import pytest

from pipeline.reporting import strict


def test_fields_are_taken_once_each_and_none_is_left_over():
    with strict.fields({"a": 1, "b": "x"}, "it") as of:
        assert of.whole("a", 1) == 1 and of.text("b") == "x"
        with pytest.raises(strict.Refused, match="it has no field 'a'"):
            of.whole("a", 1)
    with pytest.raises(strict.Refused, match="it has fields that it must not have"), strict.fields({"a": 1}, "it"):
        pass


@pytest.mark.parametrize(("text", "found"), [("1", 1), ("1.5", 1.5), ('{"a": [1, null]}', {"a": [1, None]}), ("-0", 0)])
def test_ordinary_json_is_read(text, found):
    assert strict.load(text, 100) == found


def test_null_is_taken_only_where_it_may_be():
    with strict.fields({"a": None, "b": 2, "c": None}, "it") as of:
        assert of.maybe("a", lambda: of.whole("a", 5)) is None
        assert of.maybe("b", lambda: of.whole("b", 5)) == 2
        assert of.share("c") is None
    with pytest.raises(strict.Refused, match="no field 'a'"), strict.fields({}, "it") as of:
        of.maybe("a", lambda: of.whole("a", 5))


def test_a_pattern_has_to_match_all_of_a_text():
    with strict.fields({"a": "model-1\n", "b": "model-٣", "c": "model-3"}, "it") as of:
        for name in ("a", "b"):
            with pytest.raises(strict.Refused):
                of.text(name, pattern=r"model-\d")
        assert of.text("c", pattern=r"model-\d") == "model-3"
