import pytest

from pipeline.reporting.markdown import LONGEST, code, folded, plain, table


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("cat", "`cat`"),
        ("@octocat #1 https://example.org <b>", "`@octocat #1 https://example.org <b>`"),  # nothing, in a code span
        ("a`b``c", "`aˋbˋˋc`"),
        ("a|b\\|c", "`a¦b\\¦c`"),  # a backslash does not save a cell from ending
        ("two\nlines\r\0\u202e\ud800", "`two�lines����`"),
        ("::error::x", "`: :error: :x`"),
        ("x ##[add-mask]y", "`x # #[add-mask]y`"),
        ("###[group]", "`## #[group]`"),
        ("", "`(blank)`"),
        (" ", "`(blank)`"),
    ],
)
def test_a_word_from_outside_is_one_code_span(text, shown):
    assert code(text) == shown


def test_a_long_word_is_cut():
    assert len(code("x" * 500)) == LONGEST + 2 and code("x" * 500).endswith("x…`")
    assert code("y" * LONGEST) == f"`{'y' * LONGEST}`"


def test_a_line_for_a_log_holds_no_command():
    assert plain("::set-output name=a::b\n::error::c") == ": :set-output name=a: :b�: :error: :c"


def test_a_table_is_aligned_with_numbers_to_the_right():
    assert table(["label", "now"], [["`cat`", "90 %"], ["`dog`", "80 %"]]).splitlines() == [
        "| label | now |",
        "| --- | ---: |",
        "| `cat` | 90 % |",
        "| `dog` | 80 % |",
    ]


def test_what_is_folded_keeps_the_blank_lines_that_markdown_needs():
    assert folded("more", "| a |") == "<details><summary>more</summary>\n\n| a |\n\n</details>"
