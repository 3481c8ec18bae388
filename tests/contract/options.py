"""Every option of every config group, found by listing conf/: a new YAML is under the laws by existing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from hydra import compose, initialize_config_module
from omegaconf import DictConfig

from tests.text import SAMPLES, SMALL_TEXT, TEXT_TASKS, chat_llama, sampled_by

CONF = Path(__file__).parents[2] / "conf"

# Whole configs and Hydra's own groups choose options and are none themselves.
NOT_OPTIONS = {"experiment", "setting", "model", "run", "hydra"}
SEVERAL = {"tracker", "replay/filter"}  # groups of which one chooses a list


def options(group: str) -> list[str]:
    """The options of a group, by name."""
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


def every(group: str) -> pytest.MarkDecorator:
    """Runs a law for every YAML of ``group``."""
    return pytest.mark.parametrize("option", options(group))


GROUPS = sorted({
    str(path.parent.relative_to(CONF)) for path in CONF.glob("*/**/*.yaml")
    if path.relative_to(CONF).parts[0] not in NOT_OPTIONS
})  # fmt: skip
EVERY_OPTION = [(group, option) for group in GROUPS for option in options(group)]

# The numbers of a test's house: as little of everything as still trains.
SMALL = {
    "run.token_budget": "2000",
    "run.starts_per_step": "16",
    "run.warm_up.batches": "1",
    "run.warm_up.starts": "16",
    "task.num_hard": "8",
    "task.num_easy": "8",
    "warm_start.steps": "3",
    "warm_start.batch": "16",
    "evaluate.every_steps": "100",
    "tracker": "[]",
}

# Responses that a policy without training ends now and then, so that some set a bar.
DIALOGUE = [*SMALL_TEXT[1:], "task.quantile=0.9", "task.bar_samples=64"]
HH = [
    *DIALOGUE, "task.num_heldout=8", "task.num_train=32",
    *(f"task.data.{split}.{kind}=[{SAMPLES}/hh_{kind}_{split}.jsonl]"
      for split in ("train", "heldout") for kind in ("helpful", "harmless")),
]  # fmt: skip


def small_dialogue(folder: Path) -> list[str]:
    """Scorers that are trained for two steps, and kept."""
    return [*DIALOGUE, *(f"task.{name}.{change}" for name in ("reward", "helpful", "harm")
                         for change in ("steps=2", f"cache_dir={folder / 'scorers'}"))]


def untrained_scorers(folder: Path, *names: str) -> list[str]:
    """Small byte classifiers in the place of models of the hub."""
    where = folder / "byte_scorer"
    if not (where / "config.json").is_file():
        from rrl.scorer.small import Recipe, train_classifier

        recipe = Recipe(width=8, num_layers=1, num_heads=1, max_positions=512, steps=1, batch=1, lr=0.1)
        train_classifier(recipe, 0, lambda scores, step: scores(["ab"]).sum(), where)
    changes = (f"model={where}", "device=cpu", "dtype=float32", "good_label=0", "reads=response")
    return [f"task.{name}.{change}" for name in names for change in changes]


# What an option cannot do without, and why; everything else runs as its YAML stands.
NEEDS: dict[tuple[str, str], Callable[[Path], list[str]]] = {
    # A hub model: a random Llama is written to a folder, so that no test reaches the hub.
    ("policy", "causal_lm"): lambda folder: [
        f"policy.backbone.source.model={random_llama(folder / 'llama')}", "policy.backbone.device=cpu",
    ],
    ("policy", "lora"): lambda folder: [f"policy.model={random_llama(folder / 'llama')}", "policy.backbone.device=cpu"],
    # A task of long problems alone has nothing for the default half of easy ones.
    ("task", "arith_chain"): lambda folder: ["problems=hard"],
    # Its numbers stand in SMALL, which must not speak of warm_start where there is none.
    ("warm_start", "sft"): lambda folder: [
        "warm_start.steps=3", "warm_start.batch=16", f"warm_start.cache_dir={folder / 'sft'}",
    ],
    # A group of one row is its own baseline: advantage 0, and nothing to learn.
    ("value", "group_mean"): lambda folder: ["run.samples_per_start=4"],
    ("value", "group_norm"): lambda folder: ["run.samples_per_start=4"],
    ("value", "leave_one_out"): lambda folder: ["run.samples_per_start=4"],
    # A second scorer that contradicts the made-up outcomes of the laws in one of four, not in nearly all.
    ("replay/filter", "second_verifier"): lambda folder: [
        "replay.filter.second_verifier.verifier._target_=tests.contract.doubles.ThreeOfFour",
    ],
    ("replay/filter", "harm_classifier"): lambda folder: [
        "replay.filter.harm_classifier.scorer.reads=ids", "replay.filter.harm_classifier.scorer.dtype=float32",
        f"replay.filter.harm_classifier.scorer.model={random_classifier(folder / 'classifier')}",
        "replay.filter.harm_classifier.scorer.good_label=0", "replay.filter.harm_classifier.scorer.device=cpu",
    ],
    # Tasks that judge beginnings of responses; the others have nothing to ask.
    ("replay/filter", "harm_task"): lambda folder: [
        "task=dialogue_tiny", *small_dialogue(folder), "replay.filter.harm_task.threshold=100",  # hardly trained
    ],
    ("replay/filter", "low_reward"): lambda folder: [
        "task=dialogue_tiny", *small_dialogue(folder), "replay.filter.low_reward.least=-3.0",
    ],
    ("task", "dialogue_tiny"): lambda folder: small_dialogue(folder),
    # No hub: the package's pairs, and scorers that were hardly trained.
    ("task", "dialogue"): lambda folder: [*HH, *untrained_scorers(folder, "reward", "helpful", "harm")],
    ("task", "dialogue_judge"): lambda folder: [
        *HH, *untrained_scorers(folder, "helpful", "harm"), f"task.reward.model={chat_llama(folder / 'judge')}",
        "task.reward.dtype=float32", "task.reward.device=cpu",
    ],
    # No hub: a random classifier of the tiny task's own ids.
    ("value", "reward_model"): lambda folder: [
        f"value.model={random_classifier(folder / 'classifier')}", "value.reads=ids", "value.dtype=float32",
        "value.device=cpu",
    ],
    # It asks in words, behind prompt and response.
    ("value", "self_eval"): lambda folder: [
        "task=gsm8k", *(need for need in SMALL_TEXT if "max_positions" not in need), *sampled_by("gsm8k"),
        "policy.backbone.max_positions=448",
    ],
    # Sixteen samples of 128 problems are the work of a run, not of a law.
    ("evaluate", "sampled"): lambda folder: ["evaluate.num_samples=4", "evaluate.k=2", "evaluate.max_problems=4"],
    # No account and no network.
    ("tracker", "wandb"): lambda folder: ["tracker.wandb.mode=offline"],
    # Awake in the few steps of a test: open from the first token, triggered by three steps, steep.
    ("replay/schedule", "window"): lambda folder: ["replay.schedule.first=0.0"],
    ("replay/schedule", "plateau_trigger"): lambda folder: [
        "replay.schedule.window_steps=3", "replay.schedule.min_rise=1.0",
    ],
    ("replay/schedule", "linear_up"): lambda folder: ["replay.schedule.rho_max=1.0"],
    # No hub: the package's samples, short enough for the tiny policy.
    **{("task", task): lambda folder, sample=sample: [*SMALL_TEXT, *sample] for task, sample in TEXT_TASKS.items()},
    # A codec spells a task in words; the pretrained one is that of a policy.
    ("codec", "byte"): lambda folder: ["task=gsm8k", *SMALL_TEXT, *sampled_by("gsm8k")],
    ("codec", "hf"): lambda folder: [
        "task=gsm8k", *(need for need in SMALL_TEXT if "max_positions" not in need), *sampled_by("gsm8k"),
        "policy=causal_lm", f"policy.backbone.source.model={chat_llama(folder / 'chat')}", "policy.backbone.device=cpu",
    ],
    # Text of a few tokens: boundaries may stand one token apart.
    **{("replay/cut", cut): lambda folder: ["replay.cut.apart=1"] for cut in ("ast", "code_line", "newline")},
    ("replay/cut", "sentence"): lambda folder: ["replay.cut.apart=1"],
}  # fmt: skip


def overrides_for(group: str, option: str, folder: Path) -> list[str]:
    """The small house with one option chosen."""
    base = {"warm_start.cache_dir": str(folder / "warm_start")} | SMALL
    # One choice a group: numbers of the option that stood there before are not those of this one.
    needs = NEEDS.get((group, option), lambda folder: [])(folder)
    chosen = {group} | {need.partition("=")[0] for need in needs}
    kept = [f"{key}={value}" for key, value in base.items() if not {key, key.partition(".")[0]} & chosen]
    choice = f"{group}=[{option}]" if group in SEVERAL else f"{group}={option}"
    return [*kept, choice, *needs]


def composed(*overrides: str) -> DictConfig:
    """The config of ``rrl-train`` with ``overrides``."""
    with initialize_config_module("rrl.conf", version_base="1.3"):
        return compose("train", list(overrides))


def of_a_pretrained_model(experiment: str) -> bool:
    """Whether an experiment, or the one that it begins from, chooses a model of the hub."""
    node = node_of(CONF / "experiment" / f"{experiment}.yaml")
    chosen = [name for entry in node.get("defaults", []) for name in (entry if isinstance(entry, dict) else [entry])]
    return bool({"override /policy", "override /model"} & set(chosen)) or any(
        of_a_pretrained_model(name) for name in chosen if name in options("experiment")
    )


def without_hub(cfg: DictConfig, folder: Path) -> list[str]:
    """What a config with a pretrained model and its data needs where there is no hub; nothing for other configs."""
    if "model" not in cfg.policy:
        return small_dialogue(folder) if "quantile" in cfg.task else []
    model = chat_llama(folder / "chat", max_positions=4096)
    if cfg.task.name == "dialogue":
        needs = [*HH, *untrained_scorers(folder, "reward", "helpful", "harm")]
    else:
        needs = [*SMALL_TEXT, *TEXT_TASKS[cfg.task.name]]
    small = [need for need in needs if not need.startswith(("policy.", "problems", "task="))]
    return [
        f"policy.model={model}", "policy.gguf_file=null", "policy.dtype=float32", "policy.backbone.device=cpu",
        "codec.stop=[]", *small, "task.max_prompt=2048", "run.starts_per_step=4", "run.samples_per_start=2",
    ]  # fmt: skip


def node_of(path: Path) -> dict[str, object]:
    """An option file as it stands."""
    content: dict[str, object] = yaml.safe_load(path.read_text())
    return content


def random_llama(folder: Path) -> Path:
    """A two-layer Llama of 256 tokens with grouped heads and tied embeddings, and a tokenizer, in ``folder``."""
    if (folder / "config.json").is_file():
        return folder
    import torch
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import WhitespaceSplit
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    config = LlamaConfig(
        vocab_size=256, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, head_dim=8, max_position_embeddings=64, tie_word_embeddings=True, initializer_range=0.5,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer = Tokenizer(WordLevel({"<pad>": 0} | {f"w{i}": i for i in range(1, 256)}, unk_token="<pad>"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>").save_pretrained(folder)
    return folder


def random_classifier(folder: Path) -> Path:
    """A one-layer Llama of 256 tokens that gives one number to a row, in ``folder``; without a tokenizer."""
    if (folder / "config.json").is_file():
        return folder
    import torch
    from transformers import LlamaConfig, LlamaForSequenceClassification

    config = LlamaConfig(
        vocab_size=256, hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1, head_dim=8, max_position_embeddings=64, initializer_range=0.5, num_labels=1,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        LlamaForSequenceClassification(config).save_pretrained(folder)
    return folder
