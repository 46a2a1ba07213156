"""Templates become pages: each is one HTML file that asks for nothing but itself."""

import re

import jinja2

from pipeline import formatting

# What no HTML or XML document may hold. Labels and file names come from outside and may hold anything.
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
    ):
        environment.filters[written.__name__] = written
    return environment


def page(template: str, **values) -> str:
    """Renders a template. Everything put in is escaped; what no page may hold becomes U+FFFD."""
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", _environment().get_template(template).render(values))
