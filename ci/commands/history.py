"""How the models of a workspace came about, as one page."""

import datetime

from ci.outcome import Outcome, command
from pipeline.config import Config
from pipeline.data import reports
from pipeline.formatting import counted
from pipeline.releases.factory import releases_of
from pipeline.reporting.history_page import PAGE, History, history_page
from pipeline.storage.factory import open_storage

GROUP = "models"


@command
def history(config: Config) -> Outcome:
    """Writes a page about all trainings, releases and evaluations of the workspace.

    It shows accuracy by span and label over time, what was released and why not, evaluations, retrainings, and what
    serves.
    """
    storage = open_storage(config.workspace)
    tags = releases_of(config).tags()
    trainings, evaluations = reports.trainings(storage), reports.evaluations(storage)
    found = History(
        reports=reports.in_order([*trainings, *evaluations]),
        created=datetime.datetime.now(datetime.timezone.utc),
        serves=tags[0] if tags else None,
        traffic=traffic(config),
        threshold=config.accuracy_threshold,
    )
    name = f"{reports.FOLDER}/{PAGE}"
    storage.write(name, history_page(found).encode())
    said = [counted(len(trainings), "training"), counted(len(tags), "release"), counted(len(evaluations), "evaluation")]
    return Outcome(
        f"{', '.join(said)}.\nPage: {storage.address(name)}",
        page=storage.address(name),
        trainings=len(trainings),
        releases=tags,
        evaluations=len(evaluations),
    )


def traffic(config: Config) -> dict[str, int]:
    """Returns what the endpoint serves, {tag: percent}; empty where none is configured."""
    if not (config.endpoint and config.in_cloud):
        return {}
    from pipeline.serving import endpoint  # imports Google's clients

    return endpoint.traffic(config)
