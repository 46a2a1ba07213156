"""Rules for all workflows, checked in their files, including those that execution on one machine cannot show."""

import importlib
import pathlib
import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from ci.__main__ import commands
from ci.github import deployments
from tests.workflows.definitions import Definition, Loader
from tests.workflows.pins import PINS

ROOT = pathlib.Path(__file__).resolve().parents[2]
WORKFLOWS = {path.stem: path for path in sorted((ROOT / ".github/workflows").glob("*.yml"))}
ACTIONS = {path.parent.name: path for path in sorted((ROOT / ".github/actions").glob("*/action.yml"))}
FILES = [*WORKFLOWS.values(), *ACTIONS.values()]
CALLED = ("full-codebase", "modules-only")
BUTTONS = ("attest", "collected-data", "evaluation", "promote", "retraining")


def read(path: pathlib.Path) -> dict[str, Any]:
    return yaml.load(path.read_text(encoding="utf-8"), Loader)


def jobs(*names: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yields (workflow, job, definition) of some workflows, or of all."""
    for workflow in names or WORKFLOWS:
        for job, says in read(WORKFLOWS[workflow])["jobs"].items():
            yield workflow, job, says


def steps() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields (place, step) of all steps in workflows and actions."""
    for workflow, job, says in jobs():
        yield from ((f"{workflow}: {job}", step) for step in says.get("steps", ()))
    for name, path in ACTIONS.items():
        yield from ((name, step) for step in read(path)["runs"]["steps"])


def runs() -> Iterator[tuple[str, str]]:
    yield from ((where, step["run"]) for where, step in steps() if "run" in step)


def definition(workflow: str) -> Definition:
    return Definition(WORKFLOWS[workflow].parent, WORKFLOWS[workflow].name)


def triggers(workflow: str) -> dict[str, Any]:
    return definition(workflow).triggers()


def test_docs_describe_every_workflow():
    page = (ROOT / "docs" / "github.md").read_text()
    assert all(f"`{path.name}`" in page for path in WORKFLOWS.values())
    assert {*CALLED, *BUTTONS, "cd", "ci", "lint", "report"} == set(WORKFLOWS)


def test_each_run_is_one_line_that_a_person_can_type():
    wrong = [f"{where}: {run}" for where, run in runs() if "\n" in run.strip() or "${{" in run]
    assert not wrong


def test_each_run_is_a_command_with_options_that_exist():
    checked = 0
    for where, run in runs():
        words = shlex.split(run)
        if words[:3] != [".venv/bin/python", "-m", "ci"]:
            assert words[0] in ("make", "python3", "echo"), f"{where}: {run}"
            continue
        name, checked = words[3], checked + 1
        assert name in commands(), f"{where}: {run}"
        module = name.replace("-", "_")
        made = getattr(importlib.import_module(f"ci.commands.{module}"), module)
        options = {option for parameter in made.params for option in parameter.opts}
        unknown = [word for word in words[4:] if word.startswith("--") and word not in {*options, "--"}]
        assert not unknown, f"{where}: {run}"
    assert checked > 15


def test_no_value_from_outside_becomes_an_option():
    checked = 0
    for where, run in runs():
        words = shlex.split(run)
        for before, word in zip(words, words[1:], strict=False):
            if "$" in word and words[:3] == [".venv/bin/python", "-m", "ci"]:
                is_value = re.fullmatch(r"--[\w-]+", before) or re.match(r"\$\{\w+:\+--[\w-]+=", word)
                assert is_value or "--" in words[: words.index(word)], f"{where}: {run}"
                checked += 1
    assert checked > 10


def test_targets_of_make_in_workflows_exist():
    phony = re.search(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(), re.M)[1].split()
    wanted = {shlex.split(run)[1] for _, run in runs() if run.startswith("make ")}
    assert wanted and wanted <= set(phony)


def test_each_job_declares_its_permissions():
    for name, path in WORKFLOWS.items():
        assert read(path)["permissions"] == {}, name
    for workflow, job, says in jobs():
        assert says["permissions"], f"{workflow}: {job}"


def test_security_md_lists_the_permissions_of_every_job():
    rows = re.findall(r"(?m)^\| ([\w-]+) \| ([\w-]+) \| ([\w-]+: [\w:, -]+) \|$", (ROOT / "SECURITY.md").read_text())
    listed = {(workflow, job): dict(pair.split(": ") for pair in may.split(", ")) for workflow, job, may in rows}
    assert listed == {(workflow, job): says["permissions"] for workflow, job, says in jobs()}


def test_security_md_names_tests_that_exist_for_each_attack():
    text = (ROOT / "SECURITY.md").read_text()
    section = text.partition("\n## Attacks that were tried\n")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ")][1:]
    named = [re.fullmatch(r"\| [A-Z].+ \| .+ \| ((?:`tests/\S+::test_\w+`(?:, )?)+) \|", row) for row in rows]
    assert len(rows) > 20 and all(named)
    assert text.count("`tests/") == section.count("`tests/")
    for path, name in re.findall(r"`(tests/\S+)::(\w+)`", section):
        assert f"def {name}(" in (ROOT / path).read_text(), f"{path}::{name}"


def test_a_called_workflow_gets_only_the_permissions_that_its_jobs_need():
    for workflow, job, says in jobs():
        if "uses" not in says:
            continue
        called = pathlib.Path(says["uses"]).stem
        assert job == called in CALLED and "secrets" not in says, f"{workflow}: {job}"
        assert says["permissions"] == definition(called).permissions()
        inputs = read(WORKFLOWS[called])["on"]["workflow_call"]["inputs"]
        assert set(says["with"]) == set(inputs)


def test_only_jobs_that_sign_in_or_attest_get_an_identity():
    for workflow, job, says in jobs():
        if "uses" in says:
            continue
        used = {step.get("uses", "").split("@")[0] for step in says["steps"]}
        wanted = bool(used & {"./.github/actions/cloud", "actions/attest-build-provenance"})
        assert (says["permissions"].get("id-token") == "write") == wanted, f"{workflow}: {job}"
        attests = "actions/attest-build-provenance" in used
        assert (says["permissions"].get("attestations") == "write") == attests, f"{workflow}: {job}"


def test_a_job_that_attests_runs_no_code_but_the_action():
    attesting = 0
    for workflow, job, says in jobs():
        if says["permissions"].get("attestations") == "write" and "steps" in says:
            used = [step.get("uses", "").split("@")[0] for step in says["steps"]]
            assert used == ["actions/download-artifact", "actions/attest-build-provenance"], f"{workflow}: {job}"
            assert says["needs"] == ("verify" if workflow == "attest" else "rehearse"), f"{workflow}: {job}"
            attesting += 1
    assert attesting == len(CALLED) + 1


def test_jobs_that_run_code_before_it_is_released_have_no_rights():
    for workflow, job, says in jobs():
        does = "".join(step.get("uses", "") + step.get("run", "") for step in says.get("steps", ()))
        if re.search(r"actions/rehearse|make (test|lint)", does):
            assert says["permissions"] == {"contents": "read"}, f"{workflow}: {job}"


def test_only_a_job_that_does_nothing_else_fills_the_cache_of_packages():
    saving = {(workflow, job) for workflow, job, says in jobs() if "cache: save" in yaml.dump(says)}
    assert saving == {("cd", "install")}
    used = [step.get("uses", "").split("@")[0] for step in read(WORKFLOWS["cd"])["jobs"]["install"]["steps"]]
    assert used == ["actions/checkout", "./.github/actions/full"]
    for where, step in steps():
        if step.get("with", {}).get("path") == ".venv":
            assert where == "full" and not step["uses"].startswith("actions/cache@"), "that saves in every job"
            assert re.search("inputs.cache [!=]= '(none|save)'", step["if"])


def test_jobs_with_rights_install_from_the_lock_and_from_no_cache():
    checked = 0
    for workflow, job, says in jobs():
        rights = "write" in says["permissions"].values() or "environment" in says
        for step in says.get("steps", ()) if rights else ():
            assert not step.get("uses", "").startswith(("actions/cache", "./.github/actions/rehearse"))
            if step.get("uses") == "./.github/actions/full":
                assert step["with"]["cache"] == "none", f"{workflow}: {job}"
                checked += 1
    assert checked >= 5
    assert "actions/cache" not in ACTIONS["light"].read_text(), "every job may use it"


def test_a_button_runs_only_code_of_the_default_branch():
    found = read(WORKFLOWS["retraining"])["jobs"]
    assert "ref" not in found["choose"]["steps"][0]["with"] and found["choose"]["permissions"] == {"contents": "read"}
    assert found["submit"]["needs"] == "choose"
    assert found["submit"]["steps"][0]["with"]["ref"] == "${{ needs.choose.outputs.commit }}"
    refs = {step["with"]["ref"] for _, step in steps() if "ref" in step.get("with", {})}
    assert refs == {"${{ needs.choose.outputs.commit }}", "${{ github.event.repository.default_branch }}"}


def test_code_of_pull_requests_gets_no_secret_no_setting_and_no_token_that_writes():
    exposed = [name for name in WORKFLOWS if "pull_request" in triggers(name)]
    assert exposed == ["ci", "lint"]
    for name in exposed:
        text = WORKFLOWS[name].read_text()
        assert not re.search(r"secrets\.|vars\.|toJSON\(vars\)|github\.token|GITHUB_TOKEN", text), name
        for _, job, says in jobs(name):
            assert says["permissions"] == {"contents": "read"}, f"{name}: {job}"
    assert not [name for name in WORKFLOWS if "pull_request_target" in triggers(name)]


def test_the_report_workflow_runs_no_code_of_pull_requests():
    assert [name for name in WORKFLOWS if "workflow_run" in triggers(name)] == ["report"]
    assert triggers("report")["workflow_run"] == {"workflows": ["ci"], "types": ["completed"]}
    ((_, _, says),) = jobs("report")
    (checkout,) = [step for step in says["steps"] if step.get("uses", "").startswith("actions/checkout@")]
    assert set(checkout["with"]) == {"persist-credentials"}, "without `ref` the default branch is checked out"
    (download,) = [step for step in says["steps"] if step.get("uses", "").startswith("actions/download-artifact@")]
    assert download["with"]["path"] == "${{ runner.temp }}/report", "the checkout holds what is run"
    assert says["steps"].index(download) == len(says["steps"]) - 2, "everything is installed before it arrives"
    (run,) = [step for step in says["steps"] if "run" in step]
    found = {name for name, value in run["env"].items() if value.startswith("${{ runner.temp }}/report/")}
    assert found == {"FILE", "NUMBER"} and '--file "$FILE" --pull-request-file "$NUMBER"' in run["run"]


def test_no_secret_is_used_anywhere():
    assert not [path.name for path in FILES if "secrets." in path.read_text() or "secrets:" in path.read_text()]


def test_a_token_is_given_to_single_steps_only():
    for workflow, job, says in jobs():
        assert "GITHUB_TOKEN" not in says.get("env", {}), f"{workflow}: {job}"
        assert "GITHUB_TOKEN" not in read(WORKFLOWS[workflow]).get("env", {}), workflow


def test_checkouts_leave_no_token_behind():
    found = [step for _, step in steps() if step.get("uses", "").startswith("actions/checkout@")]
    assert len(found) > 15 and all(step["with"]["persist-credentials"] is False for step in found)


def test_third_party_actions_are_pinned_as_in_the_table():
    used = set()
    for path in FILES:
        for action, commit, tag in re.findall(r"uses: ([\w-]+/[\w/-]+)@(\S+)(?: # (\S+))?", path.read_text()):
            assert PINS[action] == (tag, commit), f"{path.name}: {action}"
            used.add(action)
    assert used == set(PINS), "the table has exactly the actions in use"


def test_local_actions_exist_and_are_used():
    used = {step["uses"] for _, step in steps() if step.get("uses", "").startswith("./")}
    assert used == {f"./.github/actions/{name}" for name in ACTIONS}


def test_each_job_ends_and_runs_on_one_kind_of_machine():
    for workflow, job, says in jobs():
        if "uses" not in says:
            assert 5 <= says["timeout-minutes"] <= 120, f"{workflow}: {job}"
            assert says["runs-on"] == "ubuntu-24.04", f"{workflow}: {job}"


def test_a_push_runs_on_main_alone_and_paths_are_the_routers_business():
    pushed = {name: triggers(name)["push"] for name in WORKFLOWS if "push" in triggers(name)}
    assert pushed == {"cd": {"branches": ["main"]}, "lint": {"branches": ["main"]}}
    # a required check stays pending for ever when `paths` keep its workflow from running
    assert not [path.name for path in FILES if re.search(r"(?m)^ *paths(-ignore)?:", path.read_text())]
    assert triggers("ci") == {"pull_request": {}}


def test_called_workflows_have_no_other_trigger():
    assert [name for name in WORKFLOWS if "workflow_call" in triggers(name)] == list(CALLED)
    assert all(set(triggers(name)) == {"workflow_call"} for name in CALLED)


def test_the_schedule_is_valid_cron_syntax():
    clocks = {name: triggers(name)["schedule"] for name in WORKFLOWS if "schedule" in triggers(name)}
    assert list(clocks) == ["collected-data"]
    ((entry,),) = clocks.values()
    minute, hour, *rest = entry["cron"].split(" ")
    assert 0 < int(minute) < 60 and 0 <= int(hour) < 24, "GitHub delays runs at the full hour"
    assert rest == ["*", "*", "*"]


def test_runs_that_must_not_overlap_wait_for_each_other():
    waits = {name: read(path).get("concurrency") for name, path in WORKFLOWS.items()}
    for name in ("cd", *BUTTONS):
        assert waits[name] == {"group": name, "cancel-in-progress": False}, name
    for name in ("ci", "lint"):
        assert waits[name] == {"group": f"{name}-${{{{ github.ref }}}}", "cancel-in-progress": True}, name
    assert all(waits[name] is None for name in CALLED), "they are in the caller's group"


def test_jobs_that_sign_in_name_their_environment_and_no_others_do():
    found = {(workflow, job): says["environment"] for workflow, job, says in jobs() if "environment" in says}
    signing_in = {
        (workflow, job)
        for workflow, job, says in jobs()
        if any(step.get("uses") == "./.github/actions/cloud" for step in says.get("steps", ()))
    }
    assert set(found) == signing_in
    deploys = {(name, "deploy"): deployments.ENVIRONMENT for name in CALLED}
    others = {
        ("promote", "promote"): "endpoint",
        ("collected-data", "count"): "collected-data",
        ("evaluation", "evaluate"): "evaluation",
        ("retraining", "submit"): "retraining",
    }
    assert found == deploys | others


def test_deploying_comes_after_the_tests_and_only_with_a_cloud():
    for name in CALLED:
        says = read(WORKFLOWS[name])["jobs"]["deploy"]
        assert says["needs"] == ["tests", "rehearse"] and says["if"] == "inputs.configured == 'true'"


def test_images_are_built_by_one_branch_and_modules_copied_by_the_other():
    does = {name: WORKFLOWS[name].read_text() for name in CALLED}
    assert "ci build-image" in does["full-codebase"] and "ci build-image" not in does["modules-only"]
    assert "ci copy-modules" in does["modules-only"]
    assert all("ci submit --pipeline training" in text for text in does.values())


@pytest.mark.parametrize("workflow", ["ci", "cd"])
def test_a_gate_waits_for_every_other_job_even_if_it_fails(workflow):
    found = read(WORKFLOWS[workflow])["jobs"]
    gate = found["gate"]
    assert gate["name"] == f"{workflow} passed" and gate["if"] == "always()"
    assert set(gate["needs"]) == set(found) - {"gate"}
    for name, says in found.items():
        if name not in ("route", "gate"):
            branch = f"== '{name}'" if name in CALLED else "!= 'none'"
            assert says["needs"] == "route" and says["if"] == f"needs.route.outputs.branch {branch}", name


def test_inputs_of_buttons_have_types_and_defaults():
    for name in BUTTONS:
        inputs = triggers(name)["workflow_dispatch"].get("inputs", {})
        for of in inputs.values():
            assert of["description"] and "default" in of
            if of["type"] == "choice":
                assert of["default"] in of["options"]
            else:
                assert isinstance(of["default"], {"string": str, "boolean": bool}[of["type"]])
    options = triggers("retraining")["workflow_dispatch"]["inputs"]["pipeline"]["options"]
    assert options == ["retraining", "training", "automl"]


def test_dispatched_workflows_have_the_trigger():
    targets = [shlex.split(run)[4] for _, run in runs() if " ci dispatch " in run]
    assert targets == ["evaluation.yml", "attest.yml"]
    assert all("workflow_dispatch" in triggers(pathlib.Path(target).stem) for target in targets)


def test_unattended_runs_open_an_issue_when_they_fail():
    for name, job, when in (
        ("collected-data", "count", "always() && github.event_name == 'schedule'"),
        ("evaluation", "evaluate", "always()"),
    ):
        watch = read(WORKFLOWS[name])["jobs"]["watch"]
        assert watch["needs"] == job and watch["if"] == when
        assert any(step.get("run") == ".venv/bin/python -m ci incident" for step in watch["steps"])
