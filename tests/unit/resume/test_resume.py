"""What may change while a run is resumed, and what a refusal says."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

from rrl import checkpoint, resume
from rrl.train import _resumed

CONFIG: dict[str, Any] = {
    "seed": 0, "resume": None, "learner": {"_target_": "a.Adam", "lr": 0.001},
    "value": {"_target_": "a.Critic", "lr": 0.003, "epochs": 2, "layers": 1, "init": "scratch"},
    "run": {"token_budget": 1000, "checkpoint_every": 100, "keep_checkpoints": 2, "keep_best": None, "num_threads": 1},
    "tracker": {"jsonl": {"_target_": "a.J", "rows": 3}, "console": {"_target_": "a.C", "token_budget": 1000}},
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    meta = {"config": CONFIG, "step": 4, "sampled_tokens": 600}
    return checkpoint.save(tmp_path / "run" / "checkpoints" / "step_000004", {"x": 1}, meta)


def typed(*overrides: str, drop: tuple[str, ...] = ()) -> DictConfig:
    """The config that the command line composes: the default one with ``overrides``."""
    cfg = OmegaConf.merge(CONFIG, OmegaConf.from_dotlist(list(overrides)))
    assert isinstance(cfg, DictConfig)
    for key in drop:
        parent, _, name = key.rpartition(".")
        OmegaConf.select(cfg, parent).pop(name)
    return cfg


def test_a_run_goes_on_with_its_own_config_whatever_the_defaults_have_become(folder: Path) -> None:
    assert resume.continued(typed("learner.lr=5.0", "resume=run"), ["resume=run"], folder) == CONFIG | {"resume": "run"}


@pytest.mark.parametrize(
    "override", ["run.token_budget=2000", "run.checkpoint_every=7", "run.keep_best=eval/hard_success",
                 "tracker.jsonl.rows=9", "run.num_threads=2"],
)  # fmt: skip
def test_a_harmless_change_is_made_and_said_with_both_values(
    folder: Path, override: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        cfg = resume.continued(typed(override), ["resume=run", override], folder)
    key, _, value = override.partition("=")
    assert str(OmegaConf.select(cfg, key)) == value
    before = OmegaConf.select(OmegaConf.create(CONFIG), key)
    assert [r.getMessage() for r in caplog.records] == [f"resuming with {key} = {before}, now {value}"]


def test_the_progress_bar_hears_of_a_larger_budget(folder: Path) -> None:
    cfg = resume.continued(typed("run.token_budget=2000"), ["run.token_budget=2000"], folder)
    assert cfg.tracker.console.token_budget == cfg.run.token_budget == 2000


def test_a_tracker_may_be_taken_away(folder: Path) -> None:
    cfg = resume.continued(typed(drop=("tracker.console",)), ["~tracker.console"], folder)
    assert list(cfg.tracker) == ["jsonl"]


@pytest.mark.parametrize("override", ["learner.lr=0.5", "seed=3", "+learner.lr=0.5", "++seed=3"])
def test_a_change_of_meaning_is_refused_with_both_values(folder: Path, override: str) -> None:
    key, _, value = override.lstrip("+").partition("=")
    before = OmegaConf.select(OmegaConf.create(CONFIG), key)
    with pytest.raises(ValueError, match=f"a resumed run: the checkpoint has {key} = {before}, now {value};"):
        resume.continued(typed(f"{key}={value}"), [override], folder)


def test_another_option_is_refused_with_a_few_of_the_keys_that_differ(folder: Path) -> None:
    cfg = typed()
    cfg.value = {"_target_": "a.Ensemble", "members": 5, "lr": 0.003, "epochs": 9}
    with pytest.raises(ValueError) as refused:
        resume.continued(cfg, ["value=ensemble"], folder)
    said = str(refused.value)
    assert "value._target_ = a.Critic, now a.Ensemble; value.epochs = 2, now 9; value.layers = 1, now None" in said
    assert "2 others, among them value.members = None, now 5" in said and "value.lr" not in said


def test_a_key_that_is_like_a_free_one_is_not_free(folder: Path) -> None:
    with pytest.raises(ValueError, match="run.keep_best_of = None, now 3"):
        resume.continued(typed("run.keep_best_of=3"), ["+run.keep_best_of=3"], folder)


def test_an_arm_is_many_keys_at_once_and_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match="'experiment=ppo' cannot be given while resuming"):
        resume.continued(typed(), ["experiment=ppo"], folder)


def test_a_budget_in_the_past_is_refused_and_one_that_is_just_reached_is_not(folder: Path) -> None:
    with pytest.raises(ValueError, match="ends the run in its past: the checkpoint has 600 sampled tokens of "
                                         "run.token_budget = 1000; expected at least as many"):
        resume.continued(typed("run.token_budget=599"), ["run.token_budget=599"], folder)
    assert resume.continued(typed("run.token_budget=600"), ["run.token_budget=600"], folder).run.token_budget == 600


# ------------------------------------------------------------------------------------------ which checkpoint


def test_a_run_a_checkpoint_the_best_and_the_latest_are_found(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = folder.parents[1]
    assert resume.find(str(run)) == resume.find(str(folder)) == folder
    (folder.parent / "best").symlink_to(folder.name)
    assert resume.find(str(folder.parent / "best")) == folder  # its run's folder is found from it
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="resume is 'latest', but no run under outputs/ has checkpoints"):
        resume.find("latest")
    (tmp_path / "outputs").mkdir()
    run.rename(tmp_path / "outputs" / "run")
    assert resume.find("latest") == Path("outputs/run/checkpoints/step_000004")
    (tmp_path / "outputs" / "killed" / "checkpoints" / "step_000000.tmp").mkdir(parents=True)  # before its first one
    assert resume.find("latest") == Path("outputs/run/checkpoints/step_000004")


def test_an_unset_variable_of_a_shell_is_no_new_run() -> None:
    with pytest.raises(ValueError, match="resume is empty; expected a run folder"):
        resume.find("")


def test_of_a_damaged_newest_checkpoint_the_one_before_is_taken(folder: Path) -> None:
    newer = checkpoint.save(folder.with_name("step_000008"), {"x": 2}, {})
    assert resume.find(str(folder.parents[1])) == newer
    (newer / "state.json").write_text("{}")
    assert resume.find(str(folder.parents[1])) == folder


def test_what_is_in_no_run_is_not_gone_on_with_in_the_folder_above_it(folder: Path, tmp_path: Path) -> None:
    store = checkpoint.save(folder.parents[1] / "store", {"replay": 1}, {"config": CONFIG})
    with pytest.raises(ValueError, match="store', which is in no run's folder of checkpoints; expected a run folder"):
        resume.find(str(store))
    aside = folder.parents[1] / "checkpoints.old1"
    folder.parent.rename(aside)
    assert resume.find(str(aside / folder.name)) == aside / folder.name


def test_a_resumed_run_stays_in_the_arm_that_it_began_in(folder: Path) -> None:
    run = folder.parents[1]
    now = ["resume=run", "run.token_budget=2000"]
    assert resume.overrides_of(run, now) == ["run.token_budget=2000"]
    (run / ".hydra").mkdir()
    (run / ".hydra" / "overrides.yaml").write_text("- value.lr=0.003\n- seed=1\n")
    assert resume.overrides_of(run, now) == ["value.lr=0.003", "seed=1", "run.token_budget=2000"]


def test_a_job_of_a_sweep_of_which_no_checkpoint_is_whole_begins_anew(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run, cfg = folder.parents[1], typed()
    assert _resumed(cfg, run, [], run) == (cfg, run, folder)
    (folder / "state.json").write_text("{}")
    assert _resumed(cfg, run, [], run) == (cfg, run, None)
    assert "holds no whole checkpoint: step_000004: state.json has 2 bytes" in caplog.text
