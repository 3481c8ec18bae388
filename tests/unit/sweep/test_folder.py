"""The folder of sweeps is read as people wrote it, and refused where it is given as a folder of options."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from rrl.sweep.cli import command_of, main
from rrl.sweep.folder import Sweep, count, refuse_folder_of_sweeps, sweeps_in

ROOT = Path(__file__).parents[3]
SWEEPS = {sweep.name: sweep for sweep in sweeps_in(ROOT / "sweeps")}


def test_a_sweep_tells_question_jobs_and_folder() -> None:
    assert SWEEPS["threshold"] == Sweep(
        "threshold", "how promising must a state be to be kept, and how often should one be replayed?", 36,
        "outputs/sweeps/threshold",
    )  # fmt: skip


@pytest.mark.parametrize(("params", "jobs"), [
    ({"a": "x,y", "seed": "range(3)"}, 6), ({"a": "x", "seed": "range(2, 7)"}, 5), ({"a": 0.5, "seed": "0,1"}, 2),
])  # fmt: skip
def test_jobs_are_the_product_of_the_axes(params: dict[str, object], jobs: int) -> None:
    assert count(params) == jobs


@pytest.mark.parametrize("name", sorted(SWEEPS))
def test_every_sweep_asks_a_question_and_has_a_row_with_its_jobs_in_the_readme(name: str) -> None:
    sweep = SWEEPS[name]
    assert len(sweep.question) > 20 and sweep.folder == f"outputs/sweeps/{name}"
    lines = (ROOT / "sweeps" / "README.md").read_text().splitlines()
    (row,) = [line for line in lines if line.startswith(f"| `{name}`")]
    assert row.split("|")[4].strip() == str(sweep.num_jobs)


@pytest.mark.parametrize("name", [
    "rrl_vs_ppo", "selection_x_schedule", "value_estimators", "replay_fraction", "threshold",
    "store_capacity_staleness", "prefix_cut", "seeds",
])  # fmt: skip
def test_a_comment_that_counts_jobs_counts_right_and_says_how_long_they_take(name: str) -> None:
    text = (ROOT / "sweeps" / f"{name}.yaml").read_text()
    (said,) = re.findall(r"(\d+) jobs \(", text)
    assert int(said) == SWEEPS[name].num_jobs and re.search(r"about \d+ CPU minutes", text)


@pytest.mark.parametrize("words", [
    ["--config-dir={}"], ["--config-dir", "{}"], ["-cd", "{}", "seed=1"], ["-m", "-cd={}"],
])  # fmt: skip
def test_a_folder_of_sweeps_is_refused_as_a_folder_of_options(words: list[str]) -> None:
    given = str(ROOT / "sweeps")
    with pytest.raises(SystemExit, match=r"none would run; run a sweep as: rrl-train --config-dir=\. \+sweeps=<name>"):
        refuse_folder_of_sweeps("rrl-train", [word.format(given) for word in words])


def test_a_folder_of_options_passes(tmp_path: Path) -> None:
    (tmp_path / "task").mkdir()
    (tmp_path / "mine.yaml").write_text("seed: 3\n")
    for words in ([f"--config-dir={tmp_path}"], [f"--config-dir={ROOT}", "+sweeps=menu"], ["seed=1"], ["--config-dir"]):
        refuse_folder_of_sweeps("rrl-train", words)


def test_rrl_sweep_is_short_for_rrl_train_and_lets_the_user_choose(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    sweeps = Path("sweeps")
    assert command_of(sweeps, "menu", None, ["seed=1"]) == [
        "rrl-train", "--config-dir=.", "+sweeps=menu", "hydra/launcher=proc", "seed=1",
    ]  # fmt: skip
    assert command_of(sweeps, "menu", 2, [])[3:] == ["hydra/launcher=proc", "hydra.launcher.n_jobs=2"]
    assert command_of(sweeps, "menu", None, ["hydra/launcher=slurm"])[3:] == ["hydra/launcher=slurm"]
    with pytest.raises(ValueError, match=r"-j 2 is for processes of this machine; with hydra/launcher=slurm see conf"):
        command_of(sweeps, "menu", 2, ["hydra/launcher=slurm"])
    with pytest.raises(ValueError, match="expected a folder named sweeps"):
        command_of(Path("tests"), "menu", None, [])


def test_rrl_sweep_lists_and_names_the_choices(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    assert main([]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in SWEEPS)
    assert main(["thresold"]) == 1
    assert capsys.readouterr().err == (
        f"rrl-sweep: no sweep 'thresold' in sweeps/; expected one of: {', '.join(SWEEPS)}\n"
    )
    monkeypatch.chdir(ROOT / "tests")
    assert main(["threshold"]) == 1 and "no sweeps in sweeps/" in capsys.readouterr().err
