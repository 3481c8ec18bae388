import pytest

from rrl.codec.byte import ANSWER, END, PAD, ByteCodec

CODEC = ByteCodec()


def test_a_prompt_is_its_bytes_and_the_sign_that_the_answer_begins():
    assert CODEC.prompt("2+2") == (50, 43, 50, ANSWER)
    assert CODEC.stop == (END,) and CODEC.pad == PAD and CODEC.vocab_size == 259


def test_a_character_of_several_bytes_is_whole_or_a_replacement():
    euro = CODEC.encode("1\u20ac")
    assert euro == (49, 226, 130, 172)
    assert [CODEC.decode(euro[:t]) for t in range(5)] == ["", "1", "1\ufffd", "1\ufffd", "1\u20ac"]


def test_special_tokens_have_names_that_are_read_back():
    assert CODEC.decode((52, END, PAD)) == "4<|end|><|pad|>"
    assert CODEC.encode("4<|end|><|pad|>") == (52, END, PAD)


def test_an_id_that_is_no_byte_is_refused():
    with pytest.raises(ValueError, match=r"\[259\] are not bytes; expected 0\.\.258"):
        CODEC.decode((1, 259))
