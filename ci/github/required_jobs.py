"""What a required check stands for: exactly the jobs ran that had to, and all of them well."""

from collections.abc import Iterator, Mapping

from ci.github.job import Needed
from ci.github.routing import FULL, MODULES, NONE

ROUTER = "route"
SUCCESS, SKIPPED = "success", "skipped"


def problems(jobs: Mapping[str, Needed]) -> Iterator[str]:
    """Yields what is not as it has to be, of the jobs that a gate waits for.

    The job `route` decided on a branch. Of the jobs that are named after a branch exactly that one ran, every other job
    ran too; of a change of documentation none had to. A job that was skipped otherwise has proven nothing.
    """
    if ROUTER not in jobs:
        yield f"no job {ROUTER} is among those that this one needs"
        return
    router = jobs[ROUTER]
    branch = router.outputs.get("branch", "")
    if router.result != SUCCESS or branch not in (FULL, MODULES, NONE):
        yield f"{ROUTER} ended as {router.result} and chose {branch or 'nothing'}"
        return
    for name, job in jobs.items():
        if name == ROUTER:
            continue
        wanted = SKIPPED if branch == NONE or (name in (FULL, MODULES) and name != branch) else SUCCESS
        if job.result != wanted:
            yield f"{name} ended as {job.result}, but {wanted} is what {branch} asks for"
