import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from rrl import rng
from rrl.policy.layout import action_layout
from rrl.policy.tiny import TinyBackbone, TinyLM, TinyShape, initialised, rotate
from rrl.types import sequences_of
from tests.unit.policy.small import SIZES, Digits, start, tiny

KEYCHAIN = TinyShape(
    vocab_size=197, width=32, num_layers=2, num_heads=2, ff_width=64, max_positions=32, rope_base=100.0, norm_eps=1e-6,
    embedding_std=0.5, linear_gain=1.0, dtype="float32",
)


def test_the_default_sizes_have_33248_parameters_on_the_keychain_vocabulary():
    assert sum(p.numel() for p in TinyLM(KEYCHAIN).parameters()) == 33_248


def test_its_weights_load_into_llama_for_causal_lm_and_give_the_same_logits():
    model = initialised(TinyLM(KEYCHAIN), KEYCHAIN, rng.torch_generator(0, "policy_init"))
    config = LlamaConfig(
        vocab_size=197, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, max_position_embeddings=32, rms_norm_eps=1e-6, tie_word_embeddings=False,
        rope_parameters={"rope_type": "default", "rope_theta": 100.0},
    )
    llama = LlamaForCausalLM(config).eval()
    llama.load_state_dict(model.state_dict())
    read = action_layout(sequences_of([(start(prompt=(5, 190, 3), max_response=20), range(10, 24))]), pad=0)
    with torch.no_grad():
        ours = model.lm_head(model.model(read))
        theirs = llama(input_ids=read.ids).logits
    assert ours.std() > 0.5  # or equality would mean little
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


def test_rotation_by_hand():
    quarter = torch.tensor([[torch.pi / 2, torch.pi / 2]])  # one position; both halves share the angle
    turned = rotate(torch.tensor([[3.0, 4.0]]), quarter.cos(), quarter.sin())
    torch.testing.assert_close(turned, torch.tensor([[-4.0, 3.0]]))


def test_float32_and_float64_begin_with_the_same_weights():
    single, double = tiny(dtype="float32").state_dict(), tiny(dtype="float64").state_dict()
    assert all(torch.equal(single[name], double[name].float()) for name in single)


def test_another_seed_has_other_weights():
    assert not torch.equal(tiny(seed=0).state_dict()["lm_head.weight"], tiny(seed=1).state_dict()["lm_head.weight"])


def test_a_row_longer_than_the_table_is_refused():
    with pytest.raises(ValueError, match="policy.backbone.max_positions = 24"):
        tiny().logprob(sequences_of([(start(max_response=40), (1,) * 30)]))


@pytest.mark.parametrize("wrong", [{"width": 18}, {"dtype": "bfloat16"}])
def test_sizes_that_cannot_be_are_refused(wrong):
    with pytest.raises(ValueError, match=f"policy.backbone.{next(iter(wrong))}"):
        TinyBackbone(seed=0, task=Digits(), **({"dtype": "float32"} | SIZES | wrong))
