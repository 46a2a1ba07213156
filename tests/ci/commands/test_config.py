"""`python -m ci config` tells what is set."""


def test_every_setting_is_told_with_value_origin_and_meaning(ci, tmp_path):
    told = {setting["variable"]: setting for setting in ci("config", "--json", TUNE="yes").told["settings"]}

    assert told["TUNE"]["value"] == "true" and told["TUNE"]["origin"] == "environment"
    assert told["SEED"]["value"] == "0" and told["SEED"]["origin"] == "default"
    assert told["WORKSPACE"]["value"] == str(tmp_path / "workspace")
    assert all(setting["meaning"] for setting in told.values())


def test_people_read_a_line_a_setting_grouped_by_what_it_is_for(ci):
    lines = ci("config", SEED="7").out.splitlines()
    groups = [line for line in lines if line and line[0] != " "]

    assert groups[:3] == ["Images and releases", "Model and its quality", "Google Cloud"] and groups[-1] == "GitHub"
    assert ["SEED", "7", "environment"] in [line.split()[:3] for line in lines]
    assert lines.index("Model and its quality") < [line.split()[:1] for line in lines].index(["SEED"])
    settings = ci("config", "--json").told["settings"]
    assert len([line for line in lines if line.startswith("  ")]) == len(settings)
    assert list(dict.fromkeys(setting["group"] for setting in settings)) == groups
