"""Every option, experiment, setting and sweep composes and validates; wrong keys and values are refused by name."""

from __future__ import annotations

import itertools
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra import compose, initialize_config_module
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, MissingConfigException
from hydra.utils import get_class
from omegaconf import DictConfig, OmegaConf

from rrl import build
from rrl.annotations import fit
from rrl.metrics import CATALOGUE
from rrl.ranks import Ranks
from rrl.types import Start
from tests.contract.options import (
    CONF,
    EVERY_OPTION,
    SEVERAL,
    composed,
    node_of,
    of_a_pretrained_model,
    options,
    without_hub,
)

SWEEPS = sorted((CONF.parent / "sweeps").glob("*.yaml"))
MOST_JOBS = 10  # of a sweep, beside seeds, that are all composed
SETTINGS = [None, *options("setting")]
# Numbers that make a house quick to build and are keys of every task and setting.
QUICK = ["warm_start.steps=2", "warm_start.batch=8", "tracker=[]"]


# ------------------------------------------------------------------------------------------ compositions


@pytest.mark.parametrize(("group", "option"), EVERY_OPTION, ids=[f"{g}={o}" for g, o in EVERY_OPTION])
def test_every_option_composes_and_validates_as_it_stands(group: str, option: str) -> None:
    target = str(node_of(CONF / group / f"{option}.yaml")["_target_"])
    grouped = get_class(target).min_samples_per_start if group == "value" else 0
    rows = [f"run.samples_per_start={grouped}"] if grouped else []  # a run's number, refused below the value's least
    cfg = composed(f"{group}=[{option}]" if group in SEVERAL else f"{group}={option}", *rows)
    build.validate(cfg, Ranks())
    key = group.replace("/", ".")
    node = OmegaConf.select(cfg, f"{key}.{option}" if group in SEVERAL else key)
    written = yaml.safe_load((CONF / group / f"{option}.yaml").read_text())
    assert node._target_ == written["_target_"] and set(written) <= set(node)


# An experiment of a pretrained model chooses its task: no setting goes with it.
CHOICES = [(experiment, setting) for experiment in [None, *options("experiment")] for setting in SETTINGS
           if setting is None or experiment is None or not of_a_pretrained_model(experiment)]  # fmt: skip


@pytest.mark.parametrize(("experiment", "setting"), CHOICES)
def test_every_experiment_composes_and_validates_in_every_setting(experiment: str | None, setting: str | None) -> None:
    chosen = {"experiment": experiment, "setting": setting}
    cfg = composed(*(f"{group}={option}" for group, option in chosen.items() if option))
    build.validate(cfg, Ranks())
    assert cfg.name == (experiment or "rrl")
    for task, metrics in (cfg.expected or {}).items():
        assert task in options("task")
        for metric, (value, tolerance) in metrics.items():
            assert metric.startswith("eval/") and metric in CATALOGUE and 0.0 <= value <= 1.0 and tolerance > 0.0


@pytest.mark.parametrize(
    "choice", [f"experiment={e}" for e in options("experiment") if of_a_pretrained_model(e)]
    + [f"setting={s}" for s in options("setting")],
)
def test_every_setting_and_every_experiment_of_a_pretrained_model_builds_and_rolls_out(
    choice: str, tmp_path: Path
) -> None:
    cfg = composed(choice)
    # A model of the hub: a random one of two layers and the package's samples stand in for it.
    quick = [q for q in (*QUICK, f"warm_start.cache_dir={tmp_path}") if q.partition("=")[0].split(".")[-1] in
             (*cfg.warm_start, "tracker")]
    cfg = composed(choice, *quick, *without_hub(cfg, tmp_path))
    house = build.build(cfg, tmp_path, Ranks())
    starts = [Start(problem=p) for p in house.task.train_problems()[:2]]
    scored = house.reward.score(house.policy.rollout(starts, samples_per_start=2, step=0))
    assert len(house.value.estimate(scored).advantage) == len(scored.reward)


@pytest.mark.parametrize("model", options("model"))
def test_every_model_composes_alone_and_with_adapters_under_an_experiment_that_chose_another(model: str) -> None:
    alone = composed(f"model={model}")
    build.validate(alone, Ranks())
    assert alone.codec.name == alone.policy.backbone.source.model == alone.policy.model
    other = composed("experiment=qwen_1p5b_math_1gpu", f"model={model}", "policy=lora", "task=gsm8k")
    build.validate(other, Ranks())
    assert other.codec.name == other.policy.backbone.source.base.model == alone.policy.model
    assert other.codec.gguf_file == alone.policy.gguf_file and other.policy.dtype == alone.policy.dtype
    assert "`" + model + "`" in (CONF / "model" / "README.md").read_text()


def test_a_models_name_is_a_short_key_that_source_and_codec_follow() -> None:
    cfg = composed("policy=causal_lm", "codec=hf", "policy.model=Qwen/Qwen2.5-1.5B", "policy.dtype=bfloat16")
    build.validate(cfg, Ranks())
    source = cfg.policy.backbone.source
    assert source.model == cfg.codec.name == "Qwen/Qwen2.5-1.5B" and source.dtype == "bfloat16"
    deep = composed("policy=causal_lm", "codec=hf", "policy.backbone.source.model=here")
    assert deep.policy.backbone.source.model == deep.codec.name == "here"
    with pytest.raises(ValueError, match=r"policy\.modle is not an argument of CausalLM; expected one of: model, rev"):
        build.validate(composed("policy=causal_lm", "+policy.modle=x"), Ranks())
    with pytest.raises(HydraException, match="model"):
        composed("policy=tiny", "policy.model=x")


def test_the_experiments_readme_has_a_row_for_each_experiment() -> None:
    rows = [line for line in (CONF / "experiment" / "README.md").read_text().splitlines() if line.startswith("|")]
    assert not [e for e in options("experiment") if not any(f"`{e}`" in row for row in rows)]


def test_the_command_line_wins_over_an_experiment_and_an_experiment_over_the_defaults() -> None:
    assert composed("experiment=rrl_slots4").replay.store.slots_per_problem == 4
    assert composed("experiment=rrl_slots4", "replay.store.slots_per_problem=7").replay.store.slots_per_problem == 7
    ppo = composed("experiment=ppo", "replay/schedule=constant")
    assert ppo.name == "ppo" and ppo.replay.schedule._target_.endswith("Constant")


@pytest.mark.parametrize("name", options("run"))
def test_a_shape_of_a_run_validates(name: str) -> None:
    build.validate(composed(f"run={name}"), Ranks())


# ------------------------------------------------------------------------------------------ sweeps


def sweep_config(name: str, *overrides: str) -> DictConfig:
    """The sweep as ``rrl-train --config-dir=. +sweeps=<name>`` composes it, Hydra's own part included."""
    search = f"hydra.searchpath=[file://{CONF.parent}]"
    with initialize_config_module("rrl.conf", version_base="1.3"):
        return compose("train", [search, f"+sweeps={name}", *overrides], return_hydra_config=True)


def axis_of(written: Any) -> list[str]:
    """'a,b' -> [a, b]; 'range(2)' -> ['0', '1']; one value is an axis of one."""
    text = str(written)
    if text.startswith("range("):
        return [str(i) for i in range(*map(int, text.removeprefix("range(").removesuffix(")").split(",")))]
    return text.split(",")


@pytest.mark.parametrize("path", SWEEPS, ids=lambda p: p.stem)
def test_a_sweep_is_the_product_of_its_axes_and_every_job_has_a_folder_of_its_own(path: Path) -> None:
    written = yaml.safe_load(path.read_text())["hydra"]
    cfg = sweep_config(path.stem)
    assert cfg.hydra.mode.name == "MULTIRUN" and dict(cfg.hydra.sweeper.params) == written["sweeper"]["params"]
    axes = {key: axis_of(values) for key, values in written["sweeper"]["params"].items()}
    expected = [[f"{k}={v}" for k, v in zip(axes, row, strict=True)] for row in itertools.product(*axes.values())]
    parsed = OverridesParser.create().parse_overrides([f"{k}={v}" for k, v in cfg.hydra.sweeper.params.items()])
    jobs = BasicSweeper.split_arguments(parsed, max_batch_size=None)[0]
    assert [list(job) for job in jobs] == expected
    assert len(jobs) == math.prod(len(values) for values in axes.values()) > 1

    # A seed changes nothing but numbers; its folder is checked below. Of a product the first job and those that differ
    # from it in one axis stand for all: every option composes by itself, and a folder's name joins a part of each axis.
    tried = [job for job in jobs if f"seed={axes['seed'][0]}" in job]
    if len(tried) > MOST_JOBS:
        ends = [[f"{key}={value}" for value in (values[0], values[-1])] for key, values in axes.items()]
        tried = [job for job in tried if all(part in pair for part, pair in zip(job, ends, strict=True))]
    folders = set()
    for job in tried:
        one = sweep_config(path.stem, *job)
        folders |= {one.hydra.sweep.subdir.replace(f"_s{one.seed}", f"_s{seed}") for seed in axes["seed"]}
        plain = OmegaConf.masked_copy(one, [k for k in one if k != "hydra"])
        build.validate(plain, Ranks())
        assert plain.tracker.keys() == {"jsonl"}
    assert len(folders) == len(tried) * len(axes["seed"])


def test_the_menu_is_every_selection_that_judges_own_states_under_every_schedule() -> None:
    axes = yaml.safe_load((CONF.parent / "sweeps" / "menu.yaml").read_text())["hydra"]["sweeper"]["params"]
    assert axis_of(axes["replay/selection"]) == [name for name in options("replay/selection") if name != "adaback"]
    assert axis_of(axes["replay/schedule"]) == options("replay/schedule")


def test_a_sweep_given_as_plain_values_is_refused_with_the_right_command() -> None:
    with pytest.raises(ValueError, match=r"run a sweep as: rrl-train --config-dir=\. \+sweeps=<name>"):
        build.validate(composed("+sweeps=default_task"), Ranks())


# ------------------------------------------------------------------------------------------ wrong keys and values


def learner(**changes: Any) -> dict[str, Any]:
    node: dict[str, Any] = yaml.safe_load((CONF / "learner" / "adam.yaml").read_text())
    return {key: value for key, value in (node | changes).items() if value is not Ellipsis}


@pytest.mark.parametrize(("changes", "words"), [
    ({"typo": 1}, ("learner.typo is not an argument", "expected one of", "lr_final_frac")),
    ({"lr": ...}, ("learner.lr is missing", "PolicyLearner needs", "grad_norm")),
    ({"lr": "abc"}, ("learner.lr is 'abc'", "expected a number")),
    ({"lr": True}, ("learner.lr is True", "expected a number")),
    ({"lr": None}, ("learner.lr is None", "expected a number")),
    ({"epochs": 2.5}, ("learner.epochs is 2.5", "expected an integer")),
    ({"epochs": True}, ("learner.epochs is True", "expected an integer")),
    ({"betas": 0.9}, ("learner.betas is 0.9", "expected tuple")),
    ({"betas": [0.9, "x"]}, ("learner.betas[1] is 'x'", "expected a number")),
    ({"kl_estimator": "k9"}, ("learner.kl_estimator is 'k9'", "'k1', 'k2', 'k3'")),
    ({"_target_": "rrl.learner.Nothing"}, ("learner._target_ is 'rrl.learner.Nothing'", "cannot be loaded")),
])  # fmt: skip
def test_a_wrong_key_or_value_is_refused_in_one_line_before_anything_is_built(
    changes: dict[str, Any], words: tuple[str, ...]
) -> None:
    offered = dict.fromkeys(build.RUNTIME)  # nothing is built, so nothing real is needed
    for refuse in (lambda node: build.make(node, "learner", **offered), lambda node: build.check({"learner": node})):
        with pytest.raises(ValueError) as error:
            refuse(learner(**changes))
        message = str(error.value)
        assert all(word in message for word in words), message
        if "_target_" not in changes:  # what an import says may have lines of its own
            assert "\n" not in message


@pytest.mark.parametrize(("overrides", "words"), [
    (["learner.lr=abc"], ("learner.lr is 'abc'", "a number")),
    (["+learner.typo=1"], ("learner.typo", "expected one of")),
    (["~learner.lr"], ("learner.lr is missing",)),
    (["replay.store.capacity=many"], ("replay.store.capacity is 'many'", "an integer")),
    (["value.loss=huber"], ("value.loss is 'huber'", "'bce', 'mse'")),
    (["run.token_budget=0"], ("run.token_budget is 0", ">= 1")),
    (["run.starts_per_step=1.5"], ("run.starts_per_step is 1.5", "integer")),
    (["seed=-1"], ("seed is -1", ">= 0")),
])  # fmt: skip
def test_a_config_is_refused_whole_by_key_value_and_what_was_expected(
    overrides: list[str], words: tuple[str, ...]
) -> None:
    with pytest.raises(ValueError) as error:
        build.validate(composed(*overrides), Ranks())
    assert all(word in str(error.value) for word in words) and "\n" not in str(error.value), str(error.value)


def test_numbers_that_yaml_reads_as_text_or_whole_are_floats() -> None:
    assert fit("1e-5", float, "lr") == 1e-5 and type(fit(1, float, "lr")) is float
    assert fit([1, 2], tuple[float, ...], "betas") == (1.0, 2.0)


@pytest.mark.parametrize("override", ["replay/selection=tompson", "experiment=pp0", "policy=tinny"])
def test_hydra_names_the_options_for_a_mistyped_one(override: str) -> None:
    group = override.split("=")[0]
    with pytest.raises(MissingConfigException) as error:
        composed(override)
    assert all(option in str(error.value) for option in options(group))


@pytest.mark.parametrize("override", ["learner.typo=1", "polcy=tiny", "replay.schedule.maximum=0.1"])
def test_hydra_refuses_a_key_that_is_not_there(override: str) -> None:
    with pytest.raises(HydraException, match=override.split("=")[0].split(".")[0]):
        composed(override)


def test_the_command_answers_a_mistyped_option_in_one_line_with_the_choices(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "rrl.train", "replay/selection=tompson"]
    env = os.environ | {"PYTHONPATH": str(CONF.parent)}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=env, timeout=120)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "replay/selection=tompson" in done.stderr and all(o in done.stderr for o in options("replay/selection"))
    assert len(done.stderr.strip().splitlines()) == 1
