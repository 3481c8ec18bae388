"""A saved tiny classifier as the value, against transformers' own scores of each state alone."""

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from transformers import BertConfig, BertForSequenceClassification, LlamaConfig, LlamaForSequenceClassification

from rrl import build
from rrl.ranks import Ranks
from rrl.types import Start
from rrl.value.classifier import Classifier
from rrl.value.reward_model import RewardModel
from tests.text import chat_tokenizer
from tests.unit.learner.tabular import SoloRanks, problem, progress, scored_of
from tests.unit.policy.small import Digits
from tests.unit.value.test_steps import After

SIZES = {
    "vocab_size": 320, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2,
    "initializer_range": 0.5,
}
STATES = [
    Start(problem=problem("a")), Start(problem=problem("a"), prefix=(3, 0, 1)),
    Start(problem=problem("b", prompt=(7, 0, 2)), prefix=(0,)), Start(problem=problem("b"), prefix=(5, -4, 5)),
]


def saved(folder, kind="llama", num_labels=1, pad_token_id=0):
    with torch.random.fork_rng():
        torch.manual_seed(3)
        if kind == "llama":
            config = LlamaConfig(**SIZES, num_key_value_heads=1, head_dim=8, max_position_embeddings=32,
                                 num_labels=num_labels, pad_token_id=pad_token_id)
            LlamaForSequenceClassification(config).save_pretrained(folder)
        else:
            config = BertConfig(**SIZES, max_position_embeddings=32, num_labels=num_labels, pad_token_id=pad_token_id)
            BertForSequenceClassification(config).save_pretrained(folder)
    chat_tokenizer().save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return saved(tmp_path_factory.mktemp("classifier"))


class Words(Digits):
    """A task in words: ids are bytes."""

    vocab_size = 256

    class codec:
        fingerprint = "bytes"

    def decode(self, tokens):
        return bytes(tokens).decode()


def classifier(folder, **changed):
    given = {"task": Digits(), "model": folder, "revision": "main",
             "trust_remote_code": False, "reads": "ids", "good_label": 0, "dtype": "float32",
             "device": "cpu", "rows_per_batch": 3}
    return Classifier(**given | changed)


@pytest.mark.parametrize(("kind", "pad_token_id"), [("llama", 0), ("llama", None), ("bert", 0)])
def test_scores_are_those_of_each_state_alone_though_states_end_with_the_pad_id(tmp_path, kind, pad_token_id):
    folder = saved(tmp_path, kind, pad_token_id=pad_token_id)
    theirs = (LlamaForSequenceClassification if kind == "llama" else BertForSequenceClassification)
    model = theirs.from_pretrained(folder).eval()
    model.config.pad_token_id = None  # the last token decides
    alone = [model(input_ids=torch.tensor([s.context])).logits.item() for s in STATES]
    assert any(s.context[-1] == 0 for s in STATES) and np.std(alone) > 0.1
    assert classifier(folder)(STATES) == pytest.approx(alone, abs=1e-5)
    assert classifier(folder, rows_per_batch=1)(STATES[::-1]) == pytest.approx(alone[::-1], abs=1e-5)


def test_of_several_labels_the_score_is_the_good_ones_log_odds(tmp_path):
    folder = saved(tmp_path, num_labels=3)
    model = LlamaForSequenceClassification.from_pretrained(folder).eval()
    model.config.pad_token_id = None
    probability = torch.stack([model(input_ids=torch.tensor([s.context])).logits[0].softmax(0)[1] for s in STATES])
    assert classifier(folder, good_label=1)(STATES) == pytest.approx(torch.logit(probability).tolist(), abs=1e-4)


def test_text_is_spelled_anew_by_the_models_own_tokenizer(folder):
    state = Start(problem=problem("a", prompt=tuple(b"What is ")), prefix=tuple(b"12"))
    tokenizer = chat_tokenizer()
    model = LlamaForSequenceClassification.from_pretrained(folder).eval()
    model.config.pad_token_id = None
    ids = tokenizer.encode("What is 12", add_special_tokens=False)
    assert len(ids) < len(state.context)
    expected = model(input_ids=torch.tensor([ids])).logits.item()
    assert classifier(folder, task=Words(), reads="text")([state]) == pytest.approx([expected], abs=1e-5)


def test_its_probability_is_read_at_the_steps_and_calibrated_by_what_became_of_rows(folder):
    value = RewardModel(
        task=Digits(), ranks=SoloRanks(), model=folder, revision="main",
        trust_remote_code=False, reads="ids", good_label=0, dtype="float32",
        device="cpu", rows_per_batch=8, reduce="last", cut=After(0), lam=1.0, window=50,
    )
    bare, cut = STATES[0], Start(problem=problem("a"), prefix=(3, 0))
    scores = classifier(folder)([bare, cut])
    estimated = value.estimate(scored_of([(bare, (3, 0, 4))], [1.0]))
    p = 1 / (1 + np.exp(-scores))
    assert estimated.success.tolist() == pytest.approx([p[0], p[0], p[1]], abs=1e-5)
    assert estimated.advantage.tolist() == pytest.approx([1 - p[0], 1 - p[0], 1 - p[1]], abs=1e-5)
    solved = scored_of([(bare, (3, 0, 4))] * 9 + [(bare, (2,))] * 9, [1.0] * 9 + [0.0] * 9)
    for _ in range(3):
        metrics = value.fit(value.estimate(solved), progress())
    assert np.isfinite(list(metrics.values())).all()
    after = value.success([bare, cut])[0]
    assert after[1] > after[0]  # rows that came by this state were all solved
    assert not any(p.requires_grad for p in value._judged._score._classify._model.parameters())


@pytest.mark.parametrize(("changed", "said"), [
    ({"reads": "text"}, r"task 'digits' has no words, .* expected a task in words, or value.reads=ids"),
    ({"good_label": 1}, r"value.good_label is 1; .* has labels 0\.\.0"),
    ({"rows_per_batch": 0}, r"value.rows_per_batch is 0"),
    ({"dtype": "int8"}, r"value.dtype is 'int8'"),
    ({"device": "tpu"}, r"value.device is 'tpu'"),
    ({"reads": "pixels"}, r"value.reads is 'pixels'"),
])  # fmt: skip
def test_a_model_that_does_not_fit_is_refused_by_its_key(folder, changed, said):
    with pytest.raises(ValueError, match=said):
        classifier(folder, **changed)


def test_a_missing_a_headless_and_a_short_model_are_refused(folder, tmp_path):
    with pytest.raises(ValueError, match="cannot be loaded as AutoModelForSequenceClassification"):
        classifier(str(tmp_path))
    LlamaForSequenceClassification.from_pretrained(folder).model.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"lacks the weights \['score.weight'\]"):
        classifier(str(tmp_path))
    long = Start(problem=problem("a", prompt=tuple(range(1, 10)) * 4))
    with pytest.raises(ValueError, match="a state has 36 tokens for value.model .*, which reads 32"):
        classifier(folder)([long])

    class Wide(Digits):
        vocab_size = 321

    with pytest.raises(ValueError, match="knows 320 ids, task 'digits' has 321"):
        classifier(folder, task=Wide())


def test_a_critic_begins_as_the_reward_models_decoder(folder, tmp_path):
    from tests.text import chat_llama

    node = OmegaConf.load("conf/policy/causal_lm.yaml")
    node.backbone.source.model = str(chat_llama(tmp_path / "policy"))
    node.merge_with_dotlist(["backbone.device=cpu"])
    policy = build.make(node, "policy", seed=0, task=Digits())
    critic = OmegaConf.load("conf/value/critic.yaml")
    critic.merge_with_dotlist([f"init={folder}", "num_layers=0"])
    value = build.make(critic, "value", policy=policy, task=Digits(), ranks=Ranks(), seed=0)
    theirs = LlamaForSequenceClassification.from_pretrained(folder).model.state_dict()
    own = value.state_dict()["parameters"]
    assert len(own) == len(theirs) + 2  # and the heads' weight and bias
    assert all(torch.equal(a, b) for a, b in zip(own, theirs.values(), strict=False))
    assert value.success([Start(problem=problem())])[0].tolist() == [0.5]
