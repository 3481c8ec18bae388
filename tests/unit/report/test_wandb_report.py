import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from rrl.metrics import CATALOGUE
from rrl.report import wandb_report
from rrl.report.cli import main
from rrl.report.wandb_report import build_report, specification

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # wandb-workspaces' own
pytest.importorskip("wandb_workspaces", reason="W&B Reports need the extra: pip install 'rrl[reports]'")


def panels(spec: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for block in spec["spec"]["blocks"]:
        if block["type"] == "panel-grid":
            yield from block["metadata"]["panelBankSectionConfig"]["panels"]


@pytest.fixture(scope="module")
def spec() -> dict[str, Any]:
    return json.loads(json.dumps(specification(build_report("me/rrl", ["ppo", "rrl"]))))


def test_every_metric_and_axis_of_the_specification_is_in_the_catalogue(spec):
    drawn = [p["config"] for p in panels(spec) if "metrics" in p["config"]]
    names = {name for config in drawn for name in config["metrics"]} | {c["xAxis"] for c in drawn if "xAxis" in c}
    assert names <= CATALOGUE.keys()
    assert len(drawn) >= 20 and {"eval/hard_success", "rollout/entropy_nats_fresh", "replay/store_bytes"} <= names


def test_a_renamed_metric_is_refused_before_anything_is_sent(monkeypatch):
    monkeypatch.delitem(CATALOGUE, "explore/new_solves")
    with pytest.raises(ValueError, match=r"explore/new_solves.* not in rrl.metrics.CATALOGUE"):
        build_report("me/rrl", [])


def test_runs_are_grouped_and_chosen_by_arm_and_bands_are_named(spec):
    grids = [b["metadata"] for b in spec["spec"]["blocks"] if b["type"] == "panel-grid"]
    (runs,) = grids[0]["runSets"]
    assert runs["grouping"] == [{"section": "run", "name": "group"}]
    assert [(f["key"]["name"], f["op"], f["value"]) for f in runs["filters"]["filters"]] == [
        ("name", "IN", ["ppo", "rrl"])
    ]
    lines = [p["config"] for p in panels(spec) if p["viewType"] == "Run History Line Plot"]
    assert {(c["groupAgg"], c["groupArea"]) for c in lines} == {("mean", "stderr")}
    assert "standard errors" in json.dumps(spec)


def test_panels_do_not_lie_on_each_other(spec):
    for block in spec["spec"]["blocks"]:
        if block["type"] == "panel-grid":
            there = block["metadata"]["panelBankSectionConfig"]["panels"]
            places = [(p["layout"]["x"], p["layout"]["y"]) for p in there]
            assert len(set(places)) == len(places)


def test_tables_are_named_as_the_tracker_names_them(spec):
    told = json.dumps([p for p in panels(spec) if p["viewType"] == "Weave"])
    assert set(re.findall(r'"val": "(tables/\w+)"', told)) == {"tables/turned", "tables/prefixes"}


def test_the_command_writes_the_specification_of_its_arms_without_an_account(tmp_path, make_run, cut_run, capsys):
    for name in ("ppo", "rrl"):
        cut_run(make_run(tmp_path / "sweep" / name, name, 0), "replay/fraction")
    config = tmp_path / "sweep" / "ppo" / "config.yaml"
    config.write_text(config.read_text() + "tracker:\n  wandb:\n    project: other\n")
    line = ["--wandb", str(tmp_path / "sweep"), "--wandb-spec", str(tmp_path / "s" / "spec.json")]
    assert main(line) == 1
    assert "expected --wandb ENTITY/other" in capsys.readouterr().err
    assert main([*line[2:], "--wandb", "me/other", str(tmp_path / "sweep")]) == 0
    assert (tmp_path / "sweep" / "comparison" / "comparison.html").is_file()
    told = json.loads((tmp_path / "s" / "spec.json").read_text())
    assert told["project"] == {"name": "other", "entityName": "me"}
    assert told["displayName"] == "rrl: ppo, rrl"


def test_a_report_that_cannot_be_saved_says_why_in_one_line(capsys, monkeypatch):
    class Refused:
        url = ""

        def save(self):
            raise RuntimeError("not logged\nin")

    monkeypatch.setattr(wandb_report, "build_report", lambda place, groups: Refused())
    assert main(["--wandb", "me/rrl"]) == 1
    said = capsys.readouterr().err
    assert "RuntimeError: not logged in; log in with 'wandb login'" in said and said.count("\n") == 1


@pytest.mark.parametrize("place", ["rrl", "/rrl", "me/", "a/b/c"])
def test_a_place_of_another_form_is_refused(place):
    with pytest.raises(ValueError, match="expected entity/project"):
        build_report(place, [])


def test_no_folder_and_no_wandb_is_said_in_one_line(capsys):
    assert main([]) == 1
    assert "no folder was given" in capsys.readouterr().err
