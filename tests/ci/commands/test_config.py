"""`python -m ci config` lists all settings."""


def test_every_setting_is_listed_with_value_origin_and_meaning(ci, tmp_path):
    settings = {setting["variable"]: setting for setting in ci("config", "--json", TUNE="yes").json["settings"]}

    assert settings["TUNE"]["value"] == "true" and settings["TUNE"]["origin"] == "environment"
    assert settings["SEED"]["value"] == "0" and settings["SEED"]["origin"] == "default"
    assert settings["WORKSPACE"]["value"] == str(tmp_path / "workspace")
    assert all(setting["meaning"] for setting in settings.values())


def test_people_read_a_line_a_setting_grouped_by_what_it_is_for(ci):
    lines = ci("config", SEED="7").out.splitlines()
    groups = [line for line in lines if line and line[0] != " "]

    first = ["Images and releases", "Model and its quality", "Model for devices", "AutoML", "Google Cloud"]
    assert groups[:5] == first and groups[-1] == "GitHub"
    assert ["SEED", "7", "environment"] in [line.split()[:3] for line in lines]
    assert lines.index("Model and its quality") < [line.split()[:1] for line in lines].index(["SEED"])
    settings = ci("config", "--json").json["settings"]
    assert len([line for line in lines if line.startswith("  ")]) == len(settings)
    assert list(dict.fromkeys(setting["group"] for setting in settings)) == groups
