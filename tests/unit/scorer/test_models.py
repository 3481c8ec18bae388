"""Reward models and judges against transformers' own numbers for each exchange alone."""

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForSequenceClassification

from rrl.scorer.conversation import Exchange
from rrl.scorer.generative_judge import GenerativeJudge, expected_rating
from rrl.scorer.preference_model import PreferenceModel
from rrl.scorer.small import Recipe, byte_tokenizer, train_classifier
from tests.text import chat_llama, chat_tokenizer

PROMPT = "\n\nHuman: Why?\n\nAssistant:"
EXCHANGES = [Exchange(PROMPT, "So."), Exchange(PROMPT, "Because there are 12 of them."), Exchange(PROMPT, ""),
             Exchange("", "Alone")]  # fmt: skip
MODEL = {"revision": "main", "trust_remote_code": False, "dtype": "float32", "device": "cpu", "rows_per_batch": 3}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    where = tmp_path_factory.mktemp("scorer")
    config = LlamaConfig(
        vocab_size=320, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, head_dim=8, max_position_embeddings=128, initializer_range=0.5, num_labels=1,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        LlamaForSequenceClassification(config).save_pretrained(where)
    chat_tokenizer().save_pretrained(where)
    return str(where)


def alone(folder: str, text: str) -> float:
    """One row, no padding, read at its last token."""
    model = LlamaForSequenceClassification.from_pretrained(folder).eval()
    model.config.pad_token_id = None
    ids = AutoTokenizer.from_pretrained(folder).encode(text, add_special_tokens=False)
    with torch.no_grad():
        return float(model(input_ids=torch.tensor([ids])).logits)


def test_scores_in_padded_batches_are_those_of_each_exchange_alone(folder: str) -> None:
    model = PreferenceModel(model=folder, reads="transcript", good_label=0, **MODEL)
    theirs = [alone(folder, text) for text in (f"{PROMPT} So.", f"{PROMPT} Because there are 12 of them.",
                                               f"{PROMPT} ", "Alone")]  # fmt: skip
    assert np.std(theirs) > 0.1
    assert model(EXCHANGES) == pytest.approx(theirs, abs=1e-5)
    assert model(EXCHANGES[::-1]) == pytest.approx(theirs[::-1], abs=1e-5)
    assert model([]).tolist() == []


def test_a_chat_is_read_through_the_template_and_a_response_alone(folder: str) -> None:
    chat = PreferenceModel(model=folder, reads="chat", good_label=0, **MODEL)
    rendered = "<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\nSo.<|im_end|>\n"
    assert chat(EXCHANGES[:1]) == pytest.approx([alone(folder, rendered)], abs=1e-5)
    response = PreferenceModel(model=folder, reads="response", good_label=0, **MODEL)
    assert response(EXCHANGES[:1]) == pytest.approx([alone(folder, "So.")], abs=1e-5)
    assert np.isfinite(response([Exchange(PROMPT, "")])).all()


def test_a_tokenizer_without_a_template_cannot_read_chats(tmp_path) -> None:
    recipe = Recipe(width=8, num_layers=1, num_heads=1, max_positions=16, steps=1, batch=1, lr=0.1)
    train_classifier(recipe, 0, lambda scores, step: scores(["ab"]).sum(), tmp_path)
    with pytest.raises(ValueError, match="no chat template"):
        PreferenceModel(model=str(tmp_path), reads="chat", good_label=0, **MODEL)


def test_the_byte_tokenizer_has_a_token_a_byte_and_spells_back() -> None:
    tokenizer = byte_tokenizer()
    text = "A caf\u00e9,\n\nHuman: <x> \u4e2d"
    assert len(tokenizer.encode(text)) == len(text.encode())
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_a_small_classifier_learns_what_it_is_shown(tmp_path) -> None:
    recipe = Recipe(width=16, num_layers=1, num_heads=2, max_positions=16, steps=40, batch=2, lr=0.02)
    train_classifier(recipe, 0, lambda scores, step: -scores(["good"])[0] + scores(["bad"])[0], tmp_path)
    good, bad = PreferenceModel(model=str(tmp_path), reads="response", good_label=0, **MODEL)(
        [Exchange("", "good"), Exchange("", "bad")]
    )
    assert good > bad + 1.0


# ------------------------------------------------------------------------------------------ judge


def test_the_expected_rating_by_hand() -> None:
    # .6 and .2 of the whole vocabulary: .75 and .25 of what was allowed
    assert expected_rating(np.log([[0.6, 0.2]]), np.array([1.0, 0.0])).tolist() == pytest.approx([0.75])
    assert expected_rating(np.log([[0.1, 0.1, 0.2]]), np.array([1.0, 3.0, 5.0])).tolist() == pytest.approx([3.5])
    assert expected_rating(np.array([[-800.0, -801.0]]), np.array([1.0, 0.0])) == pytest.approx([0.7310586])


JUDGE = {"prompt": "{conversation} || {response} || good?", "answers": {"Y": 1.0, "N": 0.0}, **MODEL}


def test_a_judge_reads_the_next_tokens_log_probabilities(tmp_path) -> None:
    folder = str(chat_llama(tmp_path))
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    yes, no = (tokenizer.encode(text)[0] for text in "YN")
    wanted = []
    for response in ("So.", "Because {conversation}."):  # a response that spells a slot fills none
        asked = ("<|im_start|>user\nHuman: Why?\n\nAssistant: || "
                 f"{response} || good?<|im_end|>\n<|im_start|>assistant\n")  # fmt: skip
        with torch.no_grad():
            p = model(input_ids=torch.tensor([tokenizer.encode(asked)])).logits[0, -1].softmax(0)
        wanted.append(float(p[yes] / (p[yes] + p[no])))
    assert abs(wanted[0] - wanted[1]) > 1e-3
    judge = GenerativeJudge(model=folder, **JUDGE)
    said = judge([Exchange(PROMPT, "So."), Exchange(PROMPT, "Because {conversation}.")])
    assert said == pytest.approx(wanted, abs=1e-5)


@pytest.mark.parametrize(("changed", "why"), [
    ({"prompt": "{response}?"}, "lacks {conversation}"),
    ({"answers": {"Y": 1.0, "No!": 0.0}}, "which is 3 tokens"),
    ({"answers": {"Y": 1.0}}, "at least two"),
    ({"rows_per_batch": 0}, "rows_per_batch 0"),
])  # fmt: skip
def test_a_judge_that_cannot_answer_is_refused(tmp_path, changed, why) -> None:
    with pytest.raises(ValueError, match=why):
        GenerativeJudge(model=str(chat_llama(tmp_path)), **JUDGE | changed)
