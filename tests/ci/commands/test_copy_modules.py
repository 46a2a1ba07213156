import pathlib

from tests.ci.conftest import ROOT


def test_the_modules_of_this_repository_are_copied_once(ci, workspace):
    first, second = ci("copy-modules", "--json"), ci("copy-modules", "--json")

    assert first.code == 0, first.err
    assert first.json == second.json and set(first.json) == {"digest", "address"}
    assert pathlib.Path(first.json["address"]).is_relative_to(workspace / "modules" / first.json["digest"])


def test_modules_that_need_another_image_are_refused(ci, house, workspace):
    task = house.root / "modules" / "cats"
    task.mkdir(parents=True)
    (task / "model.py").write_text("import torch\n")
    for name in ("cloudbuild", "requirements.txt"):
        (house.root / name).symlink_to(ROOT / name)

    done = ci("copy-modules", cwd=house.root, MODULES="modules.cats")

    assert done.code == 1 and not (workspace / "modules").exists()
    assert "push needs the full branch" in done.err and "modules/cats/model.py line 1 imports torch" in done.err
