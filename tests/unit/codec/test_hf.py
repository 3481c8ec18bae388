import pytest
from tokenizers.processors import TemplateProcessing

from rrl.codec.hf import HFCodec
from rrl.codec.tokenizer import TokenizerCodec
from tests.text import CHAT, chat_tokenizer


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Tokenizers: one that chats, one that does not, one that writes the date, one with another vocabulary, ..."""
    made = {"chat": chat_tokenizer(), "plain": chat_tokenizer(None), "other": chat_tokenizer(vocab_size=280)}
    made["dated"] = chat_tokenizer(
        "{% set today = date_string if date_string is defined else strftime_now('%d %b %Y') %}{{ today }}: " + CHAT
    )
    made["thinks"] = chat_tokenizer(CHAT + "{% if not enable_thinking %}no thoughts{% endif %}")
    made["begins"] = chat_tokenizer(None)
    made["begins"].bos_token = "<|im_start|>"
    first = made["begins"].convert_tokens_to_ids("<|im_start|>")
    made["begins"].backend_tokenizer.post_processor = TemplateProcessing(
        single="<|im_start|> $A", special_tokens=[("<|im_start|>", first)]
    )
    folder = tmp_path_factory.mktemp("tokenizers")
    for name, tokenizer in made.items():
        tokenizer.save_pretrained(folder / name)
    return folder


def codec(folder, **changes):
    arguments = {
        "name": str(folder), "revision": None, "gguf_file": None,
        "trust_remote_code": False, "chat_template": "auto", "system_prompt": None,
        "template_arguments": {}, "stop": (),
    }
    return HFCodec(**(arguments | changes))


def test_a_prompt_is_the_user_message_of_the_template_up_to_the_answer(folders):
    made = codec(folders / "chat")
    assert made.decode(made.prompt("2+2?")) == "<|im_start|>user\n2+2?<|im_end|>\n<|im_start|>assistant\n"
    assert made.decode(made.stop) == "<|im_end|>"


def test_the_system_message_stands_first(folders):
    made = codec(folders / "chat", system_prompt="Be brief.")
    assert made.decode(made.prompt("x")).startswith("<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nx")


def test_none_gives_plain_text_and_so_does_a_tokenizer_without_template_which_is_said(folders, caplog):
    assert codec(folders / "chat", chat_template="none").decode(codec(folders / "plain").prompt("x")) == "x"
    assert "has no chat template: prompts are plain text" in caplog.text


def test_a_plain_prompt_begins_with_the_token_that_the_tokenizer_begins_with(folders):
    made = codec(folders / "begins")
    assert made.decode(made.prompt("x")) == "<|im_start|>x" and made.decode(made.encode("x")) == "x"


def test_template_arguments_reach_the_template(folders):
    made = codec(folders / "thinks", template_arguments={"enable_thinking": False})
    assert made.decode(made.prompt("x")).endswith("assistant\nno thoughts")
    assert codec(folders / "thinks", template_arguments={"enable_thinking": True}).prompt("x") != made.prompt("x")


def test_a_template_that_writes_todays_date_is_refused_until_it_is_given_one(folders):
    with pytest.raises(ValueError, match=r"writes today's date.*codec\.template_arguments\.date_string"):
        codec(folders / "dated")
    made = codec(folders / "dated", template_arguments={"date_string": "26 Jul 2024"})
    assert made.decode(made.prompt("x")).startswith("26 Jul 2024: <|im_start|>user")


def test_named_stop_tokens_come_before_the_end_of_sequence(folders):
    made = codec(folders / "chat", stop=("<|endoftext|>",))
    assert [made.decode((t,)) for t in made.stop] == ["<|endoftext|>", "<|im_end|>"]
    with pytest.raises(ValueError, match=r"codec\.stop has '<stop>', which is no token of"):
        codec(folders / "chat", stop=("<stop>",))


def test_no_name_says_which_keys_to_change(folders):
    with pytest.raises(ValueError, match=r"codec\.name is null.*policy=causal_lm, or codec=byte, or codec\.name="):
        codec(folders, name=None)


def test_a_system_prompt_without_a_template_is_refused(folders):
    with pytest.raises(ValueError, match=r"codec\.system_prompt is 'Be brief\.', but prompts are plain text"):
        codec(folders / "plain", system_prompt="Be brief.")


def test_the_fingerprint_follows_the_ids_and_not_the_template(folders):
    same = {codec(folders / name).fingerprint for name in ("chat", "plain", "thinks")}
    assert len(same) == 1 and codec(folders / "other").fingerprint not in same


def test_the_fingerprint_survives_a_call_that_pads_and_cuts(folders):
    tokenizer = chat_tokenizer()
    before = TokenizerCodec(tokenizer).fingerprint
    tokenizer(["a", "b c d"], padding=True, truncation=True, max_length=2)
    assert TokenizerCodec(tokenizer).fingerprint == before
