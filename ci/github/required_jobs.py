"""The rule of the required check: exactly the required jobs ran, and all succeeded."""

from collections.abc import Iterator, Mapping

from ci.github.job import Needed
from ci.github.routing import FULL, MODULES, NONE

ROUTER = "route"
SUCCESS, SKIPPED = "success", "skipped"


def problems(jobs: Mapping[str, Needed]) -> Iterator[str]:
    """Yields violations of the rule among the jobs that the gate needs.

    The job `route` chose a branch. Of the jobs named after branches exactly that one must succeed, and so must all
    other jobs; for a change of documentation all are skipped. Any other skipped job is a violation.
    """
    if ROUTER not in jobs:
        yield f"the job {ROUTER} is missing among the needed jobs"
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
