import importlib.util
import math
import shutil

import pytest
import torch
from omegaconf import OmegaConf
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import (
    BertConfig,
    BertModel,
    Gemma2Config,
    Gemma2ForCausalLM,
    GraniteConfig,
    GraniteForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    PreTrainedTokenizerFast,
)

from rrl import build
from rrl.policy.hf import HFBackbone
from rrl.policy.sources import HubModel
from rrl.types import sequences_of
from tests.unit.policy.small import MIXED, Digits, start, tiny_hf

WORDS = {"<pad>": 0, "one": 1, "two": 2, "three": 3, **{f"w{i}": i for i in range(4, 16)}}
SMALL = {
    "vocab_size": 16, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 1, "head_dim": 8, "max_position_embeddings": 64,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("model")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        # Grouped heads and a tied embedding, which the tiny family has not.
        LlamaForCausalLM(LlamaConfig(**SMALL, tie_word_embeddings=True, initializer_range=0.5)).save_pretrained(path)
    tokenizer = Tokenizer(WordLevel(WORDS, unk_token="<pad>"))
    tokenizer.pre_tokenizer = Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>").save_pretrained(path)
    return str(path)


def hub_policy(folder, *overrides):
    node = OmegaConf.load("conf/policy/causal_lm.yaml")
    node.backbone.source.model = folder
    node.merge_with_dotlist(["backbone.device=cpu", *overrides])
    return build.make(node, "policy", seed=0, task=Digits())


@pytest.mark.parametrize(("dtype", "atol"), [("float32", 1e-5), ("bfloat16", 0.2)])
def test_a_model_from_a_folder_samples_what_it_scores(folder, dtype, atol):
    policy = hub_policy(folder, f"backbone.source.dtype={dtype}")
    rollouts = policy.rollout(MIXED, samples_per_start=2, step=0)
    logprob, entropy = policy.logprob(rollouts.sequences)
    torch.testing.assert_close(logprob, rollouts.behavior_logprob, rtol=0, atol=atol)
    torch.testing.assert_close(entropy, rollouts.behavior_entropy, rtol=0, atol=atol)


def test_its_tokenizer_turns_text_into_ids_and_back(folder):
    policy = hub_policy(folder)
    assert policy.encode("three one") == (3, 1)
    assert policy.decode((3, 1)) == "three one"
    assert policy.backbone.codec.pad == 0


def test_a_tied_embedding_learns_once_and_survives_copy_save_and_load(folder):
    policy = hub_policy(folder)
    rows = sequences_of([(start(), (3, 4))])
    reference, state = policy.frozen(), policy.state_dict()
    before = policy.logprob(rows)[0]
    optimiser = torch.optim.SGD(policy.parameters(), lr=0.01)
    loss, _ = policy.loss(rows, lambda lp, h, i: (-lp.sum(), -torch.ones_like(lp), torch.zeros_like(h)))
    loss.backward()
    optimiser.step()
    assert float((policy.logprob(rows)[0] - before).sum()) > 0.1
    names = policy.state_dict()
    assert torch.equal(names["model.embed_tokens.weight"], names["lm_head.weight"])
    assert torch.equal(reference.logprob(rows)[0], before)
    policy.load_state_dict(state)
    assert torch.equal(policy.logprob(rows)[0], before)


def test_trunks_of_a_hub_model(folder):
    policy = hub_policy(folder)
    rows = sequences_of([(start(), (3, 4))])
    scratch = [policy.trunk(init="scratch", num_layers=1, seed=s).hidden(rows) for s in (0, 0, 1)]
    assert torch.equal(scratch[0], scratch[1]) and not torch.equal(scratch[0], scratch[2])
    copied = policy.trunk(init="policy", num_layers=0, seed=0).hidden(rows)
    assert torch.equal(copied, policy.shared_trunk(detach=True).hidden(rows))


def test_a_task_with_more_tokens_than_the_model_is_refused(folder):
    class Wide(Digits):
        vocab_size = 17

    source = HubModel(
        task=Wide(), model=folder, revision="main", gguf_file=None, trust_remote_code=False,
        dtype="float32", attn_implementation="sdpa"
    )
    with pytest.raises(ValueError, match="has 17 tokens, the model 16"):
        HFBackbone(task=Wide(), source=source, gradient_checkpointing=False, mixed_precision=None, device="cpu")


def test_a_model_that_caps_its_logits_samples_what_it_scores(tmp_path, folder):
    config = Gemma2Config(**SMALL, final_logit_softcapping=0.1, initializer_range=0.5, pad_token_id=0)
    Gemma2ForCausalLM(config).save_pretrained(tmp_path)
    PreTrainedTokenizerFast.from_pretrained(folder).save_pretrained(tmp_path)
    policy = hub_policy(str(tmp_path), "backbone.source.attn_implementation=eager")
    rollouts = policy.rollout(MIXED, samples_per_start=1, step=0)
    logprob, entropy = policy.logprob(rollouts.sequences)
    torch.testing.assert_close(logprob, rollouts.behavior_logprob, rtol=0, atol=1e-5)
    # Logits lie in [-.1, .1], so no probability is further than a factor e^.2 from uniform.
    uniform = -math.log(policy.backbone.vocab_size)
    assert float((logprob - uniform).abs().max()) <= 0.2
    assert float(entropy.min()) > -uniform - 0.01


def test_a_model_that_scales_its_logits_is_refused(tmp_path, folder):
    config = GraniteConfig(**SMALL, logits_scaling=8.0, initializer_range=0.5, pad_token_id=0)
    GraniteForCausalLM(config).save_pretrained(tmp_path)
    PreTrainedTokenizerFast.from_pretrained(folder).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="changes its logits after the output embedding"):
        hub_policy(str(tmp_path))


@pytest.mark.parametrize("option", ["tiny", "tiny_hf"])
def test_the_options_that_need_no_download_build_and_roll_out(option):
    policy = build.make(OmegaConf.load(f"conf/policy/{option}.yaml"), "policy", seed=0, task=Digits())
    rollouts = policy.rollout(MIXED, samples_per_start=1, step=0)
    assert rollouts.sequences.num_rows == 16
    logprob, _ = policy.logprob(rollouts.sequences)
    torch.testing.assert_close(logprob, rollouts.behavior_logprob, rtol=0, atol=1e-5)


def test_unknown_devices_and_types_are_refused(folder):
    with pytest.raises(ValueError, match="policy.backbone.device is 'tpu'"):
        hub_policy(folder, "backbone.device=tpu")
    with pytest.raises(ValueError, match="policy.backbone.source.dtype is 'int8'"):
        hub_policy(folder, "backbone.source.dtype=int8")


@pytest.fixture(scope="module")
def reward_model(folder, tmp_path_factory):
    """A wider, deeper random reward model with the same tokenizer."""
    path = tmp_path_factory.mktemp("reward_model")
    with torch.random.fork_rng():
        torch.manual_seed(1)
        config = LlamaConfig(**SMALL | {"hidden_size": 24, "num_hidden_layers": 3}, num_labels=1, pad_token_id=0)
        LlamaForSequenceClassification(config).save_pretrained(path)
    PreTrainedTokenizerFast.from_pretrained(folder).save_pretrained(path)
    return str(path)


@pytest.mark.parametrize("num_layers", [0, 2])
def test_a_trunk_can_begin_as_a_reward_models_decoder(folder, reward_model, num_layers):
    trunk = hub_policy(folder).trunk(init=reward_model, num_layers=num_layers, seed=0)
    theirs = LlamaForSequenceClassification.from_pretrained(reward_model).eval().model
    theirs.layers = theirs.layers[: num_layers or 3]
    rows = sequences_of([(start(), (3, 4))])
    context = torch.tensor([[*start().context, 3]])
    expected = theirs(input_ids=context).last_hidden_state[0, -2:]
    assert trunk.width == 24
    torch.testing.assert_close(trunk.hidden(rows), expected)
    assert all(p.requires_grad for p in trunk.parameters())


def test_a_trunk_that_cannot_be_loaded_or_reads_other_ids_is_refused(folder, reward_model, tmp_path):
    policy = hub_policy(folder)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"trunk init is .*, neither scratch nor policy; as a model it cannot"):
        policy.trunk(init=str(tmp_path / "empty"), num_layers=0, seed=0)
    with pytest.raises(ValueError, match=r"trunk num_layers is 4; expected 0\.\.3"):
        policy.trunk(init=reward_model, num_layers=4, seed=0)
    shutil.copytree(reward_model, tmp_path, dirs_exist_ok=True)
    tokenizer = Tokenizer(WordLevel({word: 15 - i for word, i in WORDS.items()}, unk_token="<pad>"))
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>").save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="whose tokenizer is not that of"):
        policy.trunk(init=str(tmp_path), num_layers=0, seed=0)
    with pytest.raises(ValueError, match="a model's name needs policy=causal_lm"):
        tiny_hf().trunk(init=reward_model, num_layers=0, seed=0)


def test_an_encoder_is_no_trunk(folder, tmp_path):
    config = BertConfig(vocab_size=16, hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=2)
    BertModel(config).save_pretrained(tmp_path)
    PreTrainedTokenizerFast.from_pretrained(folder).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="whose states see later tokens; expected a causal decoder"):
        hub_policy(folder).trunk(init=str(tmp_path), num_layers=0, seed=0)


@pytest.mark.parametrize("name", ["flash_attention_2", "flash_attention_3"])
def test_flash_attention_that_is_not_installed_is_said_before_anything_is_loaded(name, folder):
    if importlib.util.find_spec("flash_attn") or importlib.util.find_spec("flash_attn_interface"):
        pytest.skip("flash-attn is installed")
    with pytest.raises(ValueError, match=rf"attn_implementation is {name} and the package .* --no-build-isolation"):
        hub_policy(folder, f"backbone.source.attn_implementation={name}")


@pytest.mark.parametrize(("number", "said"), [
    (math.nan, "neither are its weights model.layers.1.mlp.down_proj.weight$"),
    (-math.inf, "neither are its weights model.layers.1.mlp.down_proj.weight$"),
    (3e38, "its weights are, so they overflow .policy.dtype=float32.$"),
])  # fmt: skip
def test_weights_that_are_no_numbers_are_named_before_anything_is_sampled(tmp_path, folder, number, said):
    broken = tmp_path / "broken"
    shutil.copytree(folder, broken)
    weights = load_file(broken / "model.safetensors")
    weights["model.layers.1.mlp.down_proj.weight"][:] = number
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match="^LlamaForCausalLM gives logits that are not finite; " + said):
        hub_policy(str(broken))
