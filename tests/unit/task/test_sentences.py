import pytest

from rrl.task.sentences import step_boundaries


def characters(tokens):
    return "".join(map(chr, tokens))


def cut(text, stated=None, apart=1):
    return step_boundaries(characters, tuple(map(ord, text)), stated, apart)


def pieces(text, stated=None, apart=1):
    found, last = [], 0
    for t in [*cut(text, stated, apart), len(text)]:
        found.append(text[last:t])
        last = t
    return found


@pytest.mark.parametrize(("text", "parts"), [
    ("a. b\nc", ["a. ", "b\n", "c"]),
    ("Is it? Yes! So (it is.) Good", ["Is it? ", "Yes! ", "So (it is.) ", "Good"]),
    ("It is 3.5 m.\n\nThen x.y = 2", ["It is 3.5 m.\n\n", "Then x.y = 2"]),
    ("one line", ["one line"]),
    ("ends here. ", ["ends here. "]),  # white space alone is no step
    ("first.\n second\n  ", ["first.\n ", "second\n  "]),
    ("", [""]),
])  # fmt: skip
def test_a_step_ends_with_its_sentence_or_line_and_the_space_behind_it(text, parts):
    assert pieces(text) == parts


def test_no_step_lies_behind_the_place_where_the_answer_is_stated():
    text = "a. b. #### 7. so. yes"
    assert cut(text, text.index("####")) == [3, 6] and cut("#### 7. so", 0) == []


def test_steps_are_at_least_so_far_apart():
    assert cut("a. b. c. d. e") == [3, 6, 9, 12] and cut("a. b. c. d. e", apart=5) == [6, 12]


def test_tokens_of_several_characters_are_never_cut():
    def boundaries(*words):
        return step_boundaries(lambda tokens: "".join(words[t] for t in tokens), range(len(words)), None, 1)

    assert boundaries("So", " it", " is", ".", " The", " end", ".\n", "\n", "Yes") == [4, 8]
    assert boundaries("a. b. ", "c") == [1]


def test_no_boundary_stands_inside_a_character():
    from rrl.codec.byte import ByteCodec

    codec = ByteCodec()
    tokens = codec.encode("\u4e2d.\n\u6587\u3002 \u20ac. x")
    assert [codec.decode(tokens[:t]) for t in step_boundaries(codec.decode, tokens, None, 1)] == [
        "\u4e2d.\n", "\u4e2d.\n\u6587\u3002 \u20ac. "]  # fmt: skip
