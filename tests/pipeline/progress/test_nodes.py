import io

import pytest

from pipeline.progress import logs
from pipeline.progress.nodes import NodeProgress


@pytest.mark.parametrize("setting", ["FORCE_COLOR", "TTY_COMPATIBLE", "JPY_PARENT_PID"])
def test_a_log_has_a_line_a_node_whatever_the_environment_says_of_terminals(monkeypatch, setting):
    monkeypatch.setenv(setting, "1")
    log = io.StringIO()
    monkeypatch.setattr(logs, "_terminal", log)

    with NodeProgress() as progress:
        progress.running(["Trainer"])
        progress.ended("Trainer", "done", 2.5)

    assert log.getvalue() == f"  {'Trainer':<20} {'done':<10}    2.5 s\n"
