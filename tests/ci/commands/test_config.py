"""`python -m ci config` tells what is set."""


def test_every_setting_is_told_with_value_origin_and_meaning(ci, tmp_path):
    told = {setting["variable"]: setting for setting in ci("config", "--json", TUNE="yes").told["settings"]}

    assert told["TUNE"]["value"] == "true" and told["TUNE"]["origin"] == "environment"
    assert told["SEED"]["value"] == "0" and told["SEED"]["origin"] == "default"
    assert told["WORKSPACE"]["value"] == str(tmp_path / "workspace")
    assert all(setting["meaning"] for setting in told.values())


def test_people_read_a_line_a_setting(ci):
    done = ci("config", SEED="7")

    assert any(line.split()[:3] == ["SEED", "7", "environment"] for line in done.out.splitlines())
    assert len(done.out.splitlines()) == len(ci("config", "--json").told["settings"])
