"""Plots in the part of Mermaid's language that we write, which was looked at in a browser."""

import re

import pytest

from pipeline.reporting.mermaid import LONGEST, MOST_BARS, bars
from tests.pipeline.reporting.runs import WORDS

NAME = rf'"[\w ]{{1,{LONGEST}}}"'
NUMBERS = r"\d+\.\d(, \d+\.\d)*"
CHART = re.compile(
    "```mermaid\n"
    r'%%\{init: \{"xyChart": \{"width": 760, "height": \d+\}, "themeVariables": '
    r'\{"xyChart": \{"plotColorPalette": "#\w{6}, #\w{6}"\}\}\}\}%%' + "\n"
    "xychart-beta horizontal\n"
    r'  title "[\w ]{1,80}"' + "\n"
    rf"  x-axis \[{NAME}(, {NAME})*\]" + "\n"
    "  y-axis 0 --> 100\n"
    rf"  bar \[{NUMBERS}\]" + "\n"
    rf"(  line \[{NUMBERS}\]" + "\n)?"
    "```"
)


def names(chart: str) -> list[str]:
    return re.findall(r'"([^"]*)"', re.search(r"x-axis \[(.*)\]", chart)[1])


def test_a_chart_has_a_bar_for_each_share_and_a_line_for_those_before():
    chart = bars("Right per label", ["cat", "dog"], [0.9, 1], [0.25, 0.999])
    assert CHART.fullmatch(chart)
    assert names(chart) == ["cat", "dog"] and "bar [90.0, 100.0]" in chart and "line [25.0, 99.9]" in chart
    assert "line" not in bars("Right per label", ["cat"], [0.9])


@pytest.mark.parametrize("word", [*WORDS, "日本語", "naïve café", "x" * 300, "end", "²", "-" * 99])
def test_whatever_a_name_holds_it_stays_a_name(word):
    chart = bars(word, [word, "cat"], [0.5, 0.5], [0.5, 0.5])
    assert CHART.fullmatch(chart)


def test_names_that_look_alike_stay_two_bars():
    chart = bars("Right", ["a" * 99, "a" * 98, "<a>", "@a@", "_a_ 2"], [0.5] * 5)
    assert CHART.fullmatch(chart)
    assert len(set(names(chart))) == 5 and names(chart)[2:4] == ["_a_", "_a_ 2"]


def test_more_bars_than_fit_are_a_mistake_of_the_caller():
    with pytest.raises(ValueError, match="13 bars"):
        bars("Right", ["a"] * (MOST_BARS + 1), [0.5] * (MOST_BARS + 1))
