"""Reports of runs as GitHub shows them, read by a parser of Markdown."""

import re

import pytest
from markdown_it import MarkdownIt

from pipeline.reporting.run_markdown import OPEN, SHOWN, markdown, text
from pipeline.reporting.run_report import Current, Metrics
from tests.pipeline.reporting.runs import DEVICE, hostile, metrics, report

OUR_HTML = re.compile(r"\s*(<details><summary>[\w\u202f .,]+</summary>|</details>|<sub>|</sub>)\s*")


def tokens(shown: str) -> list:
    """All of a document that is no container, in order."""
    blocks = MarkdownIt("commonmark").enable("table").parse(shown)
    return [token for block in blocks for token in (block.children or [block]) if token.content or token.children]


def cells(shown: str) -> list[str]:
    return [re.sub(r" *\| *", "|", line.strip("| ")) for line in shown.splitlines() if line.startswith("|")]


def test_the_verdict_is_the_first_line():
    first = markdown(report()).splitlines()[0]
    assert first == "### Rehearsal: good enough to be released, 95.7\u202f% right (+0.8 points)"
    refused = report(blessed=False, reasons=("accuracy is 0.5, below the threshold 0.8",), metrics=metrics(0.5))
    assert markdown(refused).startswith(
        "### Rehearsal: not good enough to be released, 50.0\u202f% right (−44.9 points)"
    )
    assert "\n- `accuracy is 0.5, below the threshold 0.8`\n" in markdown(refused)
    alone = report(kind="training", current=None)
    assert markdown(alone).startswith("### Training: released as model-2, 95.7\u202f% right\n")


def test_both_models_are_compared_on_each_label():
    shown = markdown(report())
    assert "The base bebebeb gets 94.9\u202f% of the same 118 pictures" in shown
    assert "label|this run|the base bebebeb|change" in cells(shown)
    assert "`0`|95.7\u202f%|94.9\u202f%|+0.8" in cells(shown) and "`1`|100.0\u202f%|100.0\u202f%|±0.0" in cells(shown)
    assert "<sub>bars: this run, line: the base bebebeb</sub>" in shown


def test_several_spans_are_listed():
    assert shown_kinds(markdown(report())) == ["label"]
    several = report(metrics=metrics(0.9, spans=3), current=None)
    assert shown_kinds(markdown(several)) == ["label", "span"] and "`3`|90.0\u202f%" in cells(markdown(several))


def shown_kinds(shown: str) -> list[str]:
    return re.findall(r'title "Right per (\w+) in percent"', shown)


def test_a_run_that_was_not_compared_says_why():
    shown = markdown(report(current=None, uncompared="nothing differs from the base"))
    assert "Not compared: `nothing differs from the base`." in shown and "line [" not in shown
    assert "label|this run" in cells(shown)


@pytest.mark.parametrize(
    ("branch", "image"),
    [
        ("full-codebase", "built by Cloud Build"),
        ("modules-only", "none is built, the modules alone are copied"),
        ("none", "none is built, and nothing is trained"),
    ],
)
def test_the_costs_of_a_push_are_shown(branch, image):
    shown = markdown(report(branch=branch))
    assert f"image|{image}" in "\n".join(cells(shown))
    assert ("one, on `n1-standard-4`" in shown) == (branch != "none")
    assert "image|" not in "\n".join(cells(markdown(report(branch="", machines=""))))


def test_durations_and_lineage_are_folded():
    shown = markdown(report())
    assert "<details><summary>It took 43\u202fs, most of it Transform</summary>\n\n| node" in shown
    assert "`Transform`|done|11\u202fs" in cells(shown) and "`Trainer`|unchanged|0.2\u202fs" in cells(shown)
    assert f"modules|`{'9d' * 32}`|`{'3c' * 32}`" in cells(shown) and "Both have the same modules" not in shown


def test_unchanged_modules_are_mentioned():
    same = Current("model-1", "be" * 20, "9d" * 32, metrics(0.949), ("x",))
    shown = markdown(report(current=same))
    assert "Both have the same modules." in shown and "Labels that it did not know: `x`." in shown


def test_of_many_labels_those_that_lost_most_are_shown_and_folded():
    labels = [f"label {number:03d}" for number in range(300)]
    now = Metrics(0.5, 10, {"1": 0.5}, {label: number / 300 for number, label in enumerate(labels)})
    before = Metrics(0.5, 10, {"1": 0.5}, {label: 0.5 for label in labels})
    shown = markdown(report(metrics=now, current=Current("model-1", "", "", before, ())))
    assert f"<details><summary>The {SHOWN} worst of 300</summary>" in shown
    assert "`label 000`" in shown and "`label 049`" in shown and "`label 050`" not in shown
    assert "<sub>the 12 worst of 300; bars: this run, line: the base</sub>" in shown
    assert "<details><summary>All 13</summary>" in markdown(report(metrics=metrics(0.9, labels="0123456789abc")))
    assert OPEN == 12


@pytest.mark.parametrize("most", [False, True])
def test_whatever_a_stranger_writes_stays_words(most):
    made = hostile(most=most)
    shown = markdown(made)
    assert len(shown) < 60_000
    for token in tokens(shown):
        if token.type in ("html_block", "html_inline"):
            assert all(OUR_HTML.fullmatch(line) for line in token.content.splitlines()), token.content
        elif token.type == "text":  # where GitHub would look for mentions, links, references and commits
            assert not re.search(r"@|://|www\.|#\d|[0-9a-f]{8}|javascript", token.content), token.content
        elif token.type == "fence":
            assert token.info == "mermaid" and "@" not in token.content
        else:
            assert token.type in ("code_inline", "softbreak"), token.type
    assert not re.search(r"(?m)^\s*::|##\[", shown)
    assert shown.encode()  # no half of a character


def test_every_row_of_a_table_has_as_many_cells_as_its_head():
    widths = {len(cell.split("|")) for cell in cells(markdown(hostile())) if "octocat" in cell}
    assert widths == {3, 4}  # durations, labels


def test_a_terminal_gets_a_few_harmless_lines():
    made = report()
    assert text(made).splitlines() == [
        "Rehearsal: good enough to be released, 95.7\u202f% right (+0.8 points).",
        "The base bebebeb gets 94.9\u202f% of the same images right.",
    ]
    assert text(report(current=None, uncompared="there is no base")).endswith("Not compared: there is no base.")
    shown = text(hostile())
    assert len(shown.splitlines()) == 2 + OPEN and "\x1b" not in shown
    assert not re.search(r"(?m)^\s*::|##\[", shown)


def test_a_device_model_is_one_sentence():
    said = (
        "The device model, 13\u202fkB, gets 77.4\u202f% right, and the same label as the other model for 81.5\u202f%"
        " of the images."
    )
    made = report(device=DEVICE)
    assert said in markdown(made) and said in text(made)
    assert "device" not in markdown(report()) + text(report())
