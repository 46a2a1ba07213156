"""Renders templates as self-contained HTML pages, which load nothing else."""

import re

import jinja2

from pipeline import formatting

# Characters that HTML and XML forbid. Labels and file names are untrusted and may hold any character.
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("pipeline.reporting"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for written in (
        formatting.percent,
        formatting.change,
        formatting.threshold,
        formatting.duration,
        formatting.counted,
        formatting.moment,
        formatting.listed,
        formatting.megabytes,
        formatting.milliseconds,
    ):
        environment.filters[written.__name__] = written
    return environment


def page(template: str, **values) -> str:
    """Renders a template. All values are escaped; forbidden characters become U+FFFD."""
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", _environment().get_template(template).render(values))
