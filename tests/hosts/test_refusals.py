"""Bad input: one error that says what to change, and nothing half-written."""

from __future__ import annotations

import os
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from rrl.hosts.build import build
from rrl.hosts.rows import Row, agreed
from rrl.hosts.task import PromptBook
from rrl.hosts.trl import Hooks
from rrl.hosts.trl_generate import check_contexts
from rrl.hosts.trl_rewards import Watched
from rrl.hosts.versions import require
from rrl.types import Start
from tests.contract.stream import same
from tests.hosts.words import words

OVERRIDES = ["replay/schedule=constant", "replay.schedule.rho=1.0", "replay/cut=token"]
BOOK = PromptBook(stop=(4,), max_response=6, known={})


def told(session: Any, *, steps: int = 2) -> Any:
    """A session that has seen failing rows of three prompts, so that it has states to give."""
    for step in range(steps):
        rows = [Row(start=Start(problem=BOOK.of((2, i, 9))), tokens=(7, 8, step + 10, 4), score=0.0) for i in range(3)]
        session.observe(rows, step=step, num_steps=10)
    return session


@pytest.mark.parametrize(("package", "module"), [
    ("trl", "rrl.hosts.trl"), pytest.param("verl", "rrl.hosts.verl", marks=pytest.mark.slow),
])
def test_an_untested_host_version_is_refused_at_import(package: str, module: str, tmp_path: Path) -> None:
    folder = tmp_path / f"{package}-9.7.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 9.7.0\n")
    done = subprocess.run(
        [sys.executable, "-c", f"import {module}"], capture_output=True, text=True,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode == 1
    assert last.startswith(f"ImportError: {package} 9.7.0 is installed; rrl.hosts was tested with {package}>=")
    assert "pip install" in last and "pytest tests/hosts" in last


def test_an_absent_host_is_named_with_what_to_install() -> None:
    with pytest.raises(ImportError, match=r"no-such-host is not installed.*pip install 'no-such-host>=1,<2'"):
        require("no-such-host", ">=1,<2")


def watched(*functions: Any, told: list[Any] | None = None) -> list[Any]:
    said = [] if told is None else told
    weights = [1.0] * len(functions)
    return Watched(functions, weights=lambda: weights, active=lambda: True,
                   tell=lambda scores, ids, columns: said.append(scores)).functions


def test_a_reward_that_returns_none_is_refused_by_name() -> None:
    def forgetful(**columns: Any) -> None:
        return None

    (reward,) = watched(forgetful)
    with pytest.raises(ValueError, match="reward 'forgetful' returned None; expected a list of 2 numbers"):
        reward(["a", "b"], ["x", "y"], [[1], [2]])


def test_a_row_without_any_reward_is_refused_and_one_with_some_is_summed() -> None:
    said: list[Any] = []
    first, second = watched(lambda **c: [1.0, None], lambda **c: [0.5, 0.25], told=said)
    first(["a", "b"], ["x", "y"], [[1], [2]])
    assert second(["a", "b"], ["x", "y"], [[1], [2]]) == [0.5, 0.25]
    assert said == [[1.5, 0.25]]
    first, second = watched(lambda **c: [1.0, None], lambda **c: [0.5, None])
    first(["a", "b"], ["x", "y"], [[1], [2]])
    with pytest.raises(ValueError, match="every reward function returned None for row 1, prompt 'b'"):
        second(["a", "b"], ["x", "y"], [[1], [2]])


def test_models_and_async_functions_are_refused_as_rewards() -> None:
    async def later(**columns: Any) -> list[float]:
        return [0.0]

    with pytest.raises(ValueError, match="'later' is async"):
        watched(later)
    with pytest.raises(ValueError, match="is a model or its name"):
        watched("some/reward-model")
    with pytest.raises(ValueError, match="no reward function"):
        watched()


def test_a_reward_that_is_not_a_number_is_refused() -> None:
    with pytest.raises(ValueError, match="is nan; expected a finite number"):
        Row(start=Start(problem=BOOK.of((2, 5, 9))), tokens=(4,), score=float("nan"))


def test_a_prefix_beyond_the_context_names_what_to_lower() -> None:
    model = types.SimpleNamespace(config=types.SimpleNamespace(max_position_embeddings=20))
    trainer = types.SimpleNamespace(use_vllm=False, max_completion_length=10, model=model,
                                    accelerator=types.SimpleNamespace(unwrap_model=lambda m: m))
    problem = PromptBook(stop=(4,), max_response=10, known={}).of((2, 5, 9))
    check_contexts(trainer, [Start(problem=problem, prefix=(7,) * 7)])  # 3 + 7 + 10 = 20 fit
    with pytest.raises(ValueError, match=r"prompt of 3 tokens, a prefix of 8 and max_completion_length 10 are 21 "
                                         r"tokens; the model's max_position_embeddings is 20.*length.max_tokens=7"):
        check_contexts(trainer, [Start(problem=problem, prefix=(7,) * 8)])
    vllm = types.SimpleNamespace(use_vllm=True, max_completion_length=10,
                                 args=types.SimpleNamespace(vllm_max_model_length=15))
    with pytest.raises(ValueError, match="vllm_max_model_length is 15"):
        check_contexts(vllm, [Start(problem=problem, prefix=(7, 7, 7))])


def test_a_prefix_that_leaves_no_room_in_the_response_is_refused() -> None:
    session = told(build([*OVERRIDES, "replay/admission=argmax_value"], tokenizer=words()))
    shorter = PromptBook(stop=(4,), max_response=1, known={})
    with pytest.raises(ValueError, match="leaves no room: a response may have 1; raise the host's response length"):
        session.starts([shorter.of((2, i, 9)) for i in range(3)], step=3, num_steps=10)


def test_a_store_of_another_tokenizer_is_refused_and_nothing_is_taken_from_it(tmp_path: Path) -> None:
    told(build(OVERRIDES, tokenizer=words())).save(tmp_path / "rrl")
    other = build(OVERRIDES, tokenizer=words(shift=1))
    before = other.state_dict()
    with pytest.raises(ValueError, match="another tokenizer, chat template"):
        other.load(tmp_path / "rrl")
    with pytest.raises(ValueError, match="does not fit this run.*another tokenizer, chat template"):
        other.seed_from(tmp_path / "rrl")
    assert same(other.state_dict(), before)


def test_a_resume_under_other_settings_or_without_a_state_says_so(tmp_path: Path) -> None:
    told(build(OVERRIDES, tokenizer=words())).save(tmp_path / "rrl")
    with pytest.raises(ValueError, match="was written with seed = 0, this run has 1; expected the same settings"):
        build([*OVERRIDES, "seed=1"], tokenizer=words()).load(tmp_path / "rrl")
    with pytest.raises(ValueError, match="no state of replay was saved beside this checkpoint"):
        build(OVERRIDES, tokenizer=words()).load(tmp_path / "elsewhere" / "rrl")


def test_ranks_that_were_told_different_things_are_refused() -> None:
    row = Row(start=Start(problem=BOOK.of((2, 5, 9))), tokens=(7, 4), score=0.0)
    one, two = build(OVERRIDES, tokenizer=words()), build(OVERRIDES, tokenizer=words())
    assert agreed([(one.told, [row]), (two.told, [row])]) == [row, row]
    one.observe([row], step=0, num_steps=10)
    with pytest.raises(ValueError, match=r"the 2 processes disagree.*rank 0: .*rank 1: .*the same seed"):
        agreed([(one.told, [row]), (two.told, [row])])
    other = build([*OVERRIDES, "seed=1"], tokenizer=words())
    with pytest.raises(ValueError, match="disagree"):
        agreed([(two.told, [row]), (other.told, [row])])


def test_options_that_read_the_entropy_are_refused_where_the_host_tells_none() -> None:
    session = build(["replay/schedule=entropy_trigger", "replay/cut=token"], tokenizer=words())
    start = Start(problem=BOOK.of((2, 5, 9)))
    session.observe([Row(start=start, tokens=(7, 4), score=0.0, logprobs=(-1.0, -0.5))], step=0, num_steps=10)
    with pytest.raises(ValueError, match="replay/schedule=entropy_trigger reads the sampling entropy"):
        session.observe([Row(start=start, tokens=(7, 4), score=0.0)], step=1, num_steps=10)


@pytest.mark.parametrize(("override", "message"), [
    ("replay/schedule=nope", "replay/schedule=nope is not an option"),
    ("host.solved=1", "host has no key 'solved'"),
    ("host.solved_at=high", "host.solved_at"),
    ("host.fill_rows=-1", "host.fill_rows is -1"),
    ("host.score_range=[1.0,0.0]", "host.score_range"),
    ("replay.rescore_every=0", "rescore_every"),
])
def test_a_wrong_option_is_one_line_that_names_it(override: str, message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("[", r"\[")) as caught:
        build([override], tokenizer=words())
    assert "\n" not in str(caught.value)


def test_hooks_say_when_the_trainer_has_tools() -> None:
    hooks = Hooks(build(OVERRIDES, tokenizer=words()))
    with pytest.raises(ValueError, match="has tools or an environment"):
        hooks.rollout(["a"], types.SimpleNamespace(tools=[print], environments=None))
