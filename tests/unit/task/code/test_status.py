"""What the code task says inside a response: heard once per block, kept in prefixes, never learnt."""

import json

import pytest
import torch

from rrl.codec.byte import END, ByteCodec
from rrl.policy.engine.environment import Hearing, observer_of
from rrl.protocols import Environment, RunsPrograms
from rrl.ranks import Ranks
from rrl.records import Attempt
from rrl.replay.cut.steps import StepsCut
from rrl.sandbox.link import ZygoteLost
from rrl.task.code.grader import CodeGrader
from rrl.task.code.status import CodeStatusTask
from rrl.task.code.tables import CodeTables
from rrl.task.code.task import CodeTask
from rrl.types import Start, given, plain, sampled, sequences_of
from tests.unit.policy.small import SIZES
from tests.unit.task.code.test_verdict import SCORES, Script, finished

WRONG, RIGHT = "so\n```python\nprint(1)\n```", "\n```python\nprint(2)\n```"
SAID = "\n[tests: 1 of 2, wrong answer]\n"


def task_of(folder, *ends, kind=CodeStatusTask, **changes):
    """Three tests of one problem, of which two are told; programs end as ``ends`` says."""
    rows = [
        {"question": q, "solutions": json.dumps(["print(input())"]), "difficulty": "x",
         "input_output": json.dumps({"inputs": ["1", "2", "3"], "outputs": ["1", "2", "3"]})} for q in ("train", "held")
    ]  # fmt: skip
    paths = [folder / "train.jsonl", folder / "held.jsonl"]
    for path, row in zip(paths, rows, strict=True):
        path.write_text(json.dumps(row))
    data = CodeTables(
        train=(str(paths[0]),), heldout=(str(paths[1]),), train_format="apps", heldout_format="apps", max_tests=0,
        shown_tests=0, hard_levels=(),
    )  # fmt: skip
    arguments = {
        "seed": 0, "codec": ByteCodec(), "ranks": Ranks(), "output_dir": folder, "name": "code", "data": data,
        "grader": CodeGrader(sandbox=Script(*ends), **SCORES), "prompt": "{prompt}", "num_train": 0, "num_heldout": 0,
        "max_prompt": 100, "max_response": 160, "step_apart": 1, "check_solutions": False, "bad_rows": "refuse",
    } | ({"told_tests": 2, "told_times": 1} if kind is CodeStatusTask else {})  # fmt: skip
    return kind(**arguments | changes)


def answers(*outputs):
    return [finished(o) for o in outputs]


def spoken(task, problem, text, prefix=()):
    """``text`` token by token, as an engine samples it: the response with what was said in it."""
    tokens = prefix
    for token in (*task.encode(text), END):
        tokens = (*tokens, token)
        if token != END:
            tokens += given(task.observe(problem, tokens))
    return tokens


def test_a_closed_block_is_answered_with_counts_and_a_word(tmp_path):
    task = task_of(tmp_path, *answers("1", "x"))
    [problem] = task.train_problems()
    tokens = spoken(task, problem, WRONG)
    assert task.decode(plain(tokens)) == WRONG + SAID + "<|end|>"
    assert task.decode(sampled(tokens)) == WRONG + "<|end|>"
    assert len(SAID) <= task.max_given


@pytest.mark.parametrize(("ends", "said"), [
    (answers("1", "2"), "2 of 2, all pass"), ([finished(how="late")], "0 of 2, too slow"),
    ([finished(status=120)], "0 of 2, does not compile"), ([finished("1", status=1)], "0 of 2, runtime error"),
])  # fmt: skip
def test_it_says_how_the_first_failed_test_failed(tmp_path, ends, said):
    task = task_of(tmp_path, *ends)
    [problem] = task.train_problems()
    assert task.decode(plain(spoken(task, problem, WRONG))) == f"{WRONG}\n[tests: {said}]\n<|end|>"


def test_nothing_is_said_elsewhere(tmp_path):
    task = task_of(tmp_path)  # a program that ran would fail this test
    [problem] = task.train_problems()
    for text in ("print(1)", "```python\nprint(1)\n", "a `b` c ``` d", "```\n```", "```python"):
        assert all(t >= 0 for t in spoken(task, problem, text))
    assert task.score(problem, task.encode(WRONG)).solved is False  # and a response that was cut is not run


def test_the_second_block_counts_on_all_tests(tmp_path):
    task = task_of(tmp_path, *answers("1", "x"), *answers("1", "2", "3"))
    [problem] = task.train_problems()
    tokens = spoken(task, problem, WRONG + RIGHT)
    assert task.decode(plain(tokens)) == WRONG + SAID + RIGHT + "<|end|>"  # told once: the second is not answered
    task.ahead([(problem, tokens)])
    assert task.score(problem, tokens) == (1.0, True)
    assert isinstance(task, RunsPrograms) and task.tests(problem, tokens) == ("solved", 3, 3)
    assert task.tests(problem, tokens[:-1]) is None  # cut
    jobs = task._grader.sandbox.jobs
    assert [(j.source, j.stdin) for j in jobs] == [
        ("print(1)\n", "1"), ("print(1)\n", "2"), ("print(2)\n", "1"), ("print(2)\n", "2"), ("print(2)\n", "3")
    ]  # fmt: skip


def test_it_is_pure_and_counts_what_a_replayed_prefix_has_heard(tmp_path):
    task = task_of(tmp_path, *answers("1", "x"), *answers("1", "2"), told_times=2)
    [problem] = task.train_problems()
    first = spoken(task, problem, WRONG)[:-1]
    assert task.observe(problem, first[: len(WRONG)]) == task.encode(SAID)  # asked again, not run again
    whole = spoken(task, problem, RIGHT, prefix=first)
    assert task.decode(plain(whole)) == WRONG + SAID + RIGHT + "\n[tests: 2 of 2, all pass]\n<|end|>"
    again = spoken(task, problem, "\n" + WRONG, prefix=whole[:-1])  # a third block: enough has been said
    assert sum(t < 0 for t in again) == sum(t < 0 for t in whole) <= task.max_given


def test_a_lost_zygote_says_nothing_and_stops_nothing(tmp_path, caplog):
    task = task_of(tmp_path, ZygoteLost("gone"))
    [problem] = task.train_problems()
    assert all(t >= 0 for t in spoken(task, problem, WRONG)) and "hears nothing" in caplog.text


def test_the_plain_code_task_never_speaks(tmp_path):
    assert not isinstance(task_of(tmp_path, kind=CodeTask), Environment)
    assert isinstance(task_of(tmp_path), Environment)
    with pytest.raises(ValueError, match=r"task\.told_tests is 0; expected >= 1; task=code says nothing"):
        task_of(tmp_path, told_tests=0)


def test_what_was_said_is_context_in_every_stage_and_a_prefix_that_holds_it_goes_on(tmp_path):
    from rrl.policy.causal_lm import CausalLM
    from rrl.policy.engine.tiny import TinyEngine
    from rrl.policy.tiny import TinyBackbone

    task = task_of(tmp_path, *answers("1", "x"), *answers(*"123"))
    [problem] = task.train_problems()
    text, scripted = task.encode(WRONG + RIGHT), Start(problem=problem)
    hearing = Hearing(observer_of([scripted], task), 1)
    for i, token in enumerate((*text, END)):  # what an engine does, with tokens from a script
        hearing.after(torch.tensor([0]), torch.tensor([token]), torch.tensor([i < len(text)]))
    said, offsets = hearing.flat(torch.tensor([len(text) + 1]))
    assert task.decode(said.tolist()) == SAID and offsets[len(WRONG)] - offsets[len(WRONG) - 1] == len(SAID)

    response = spoken(task, problem, WRONG + RIGHT)
    rows = sequences_of([(scripted, response)])
    assert rows.given.tolist() == said.tolist() and rows.actions.tolist() == [*text, END]
    policy = CausalLM(
        seed=0, task=task, engine=TinyEngine(),
        backbone=TinyBackbone(seed=0, task=task, dtype="float64", **(SIZES | {"max_positions": 512})),
        temperature=1.0, rows_per_batch=8, actions_per_chunk=64, logits_dtype="float32", prefix_sharing="repeat",
        packing="never", prefix_gradient=True,
    )  # fmt: skip
    assert policy.logprob(rows)[0].shape == (len(text) + 1,)  # one a sampled token, none for what was said

    attempt = Attempt(
        start=scripted, tokens=response, value=torch.zeros(len(response)).numpy(),
        entropy=torch.zeros(len(response)).numpy(), score=1.0, solved=True, ended=True,
    )  # fmt: skip
    cuts = StepsCut(task=task).boundaries(attempt)
    behind = len(WRONG) + len(SAID)
    prefixes = {task.decode(plain(response[:t])) for t in cuts}
    assert prefixes == {
        "so\n```python\n",
        "so\n```python\nprint(1)\n",
        WRONG + SAID + "\n```python\n",
        WRONG + SAID + "\n```python\nprint(2)\n",
    }
    replayed = Start(problem=problem, prefix=response[: max(t for t in cuts if t < behind + 16)])
    assert replayed.room == 160 - len(sampled(replayed.prefix)) and len(replayed.context) == len(problem.prompt) + len(
        replayed.prefix
    )
    rollouts = policy.rollout([replayed], samples_per_start=2, step=0)
    assert len(rollouts.sequences.given) == 0  # it has been told already
    for tokens in rollouts.sequences.all_tokens():
        task.score(problem, replayed.prefix + tokens)
