"""Laws of ``Task``, ``Problems`` and ``WarmStart``: what is asked, in which order, and what comes before."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rrl import rng
from rrl.protocols import Task
from rrl.types import Problem, Start, sequences_of
from tests.contract.bench import Bench, progress_at
from tests.contract.options import every


@pytest.fixture
def task(bench: Bench, option: str) -> Task:
    return bench.house("task", option).task


def all_problems(task: Task) -> list[Problem]:
    return task.train_problems() + task.eval_problems()


# ------------------------------------------------------------------------------------------ task


@every("task")
def test_problems_have_names_and_prompts_of_their_own_and_known_tokens(task: Task, option: str) -> None:
    problems = all_problems(task)
    assert len({p.id for p in problems}) == len(problems)
    assert not {p.prompt for p in task.train_problems()} & {p.prompt for p in task.eval_problems()}
    assert 0 <= task.pad < task.vocab_size
    for problem in problems:
        tokens = (*problem.prompt, *problem.solution, *problem.stop)
        assert min(tokens) >= 0 and max(tokens) < task.vocab_size
        assert problem.task == task.name and problem.difficulty in ("hard", "easy")
        assert len(problem.solution) <= problem.max_response


@every("task")
def test_the_canonical_solution_is_solved_and_none_of_its_beginnings_is(task: Task, option: str) -> None:
    low, high = task.score_range
    for problem in [p for p in all_problems(task) if p.solution][::7]:  # a dialogue has none
        outcome = task.score(problem, problem.solution)
        assert outcome.solved and outcome.score == high
        for t in range(len(problem.solution)):
            beginning = task.score(problem, problem.solution[:t])
            assert not beginning.solved and low <= beginning.score <= high
        right = task.right_prefix(problem)
        assert right == problem.solution[: len(right)] and len(right) < len(problem.solution)


@every("task")
def test_any_response_gets_a_score_in_the_range_and_the_same_one_again(task: Task, option: str) -> None:
    low, high = task.score_range
    generator = rng.generator(0, "contract.task")
    for problem in all_problems(task)[::5]:
        for length in (1, problem.max_response):
            response = tuple(generator.integers(task.vocab_size, size=length).tolist())
            outcome = task.score(problem, response)
            assert low <= outcome.score <= high and type(outcome.solved) is bool
            assert outcome == task.score(problem, response)


@every("task")
def test_steps_lie_strictly_inside_a_response_in_order(task: Task, option: str) -> None:
    for problem in all_problems(task)[::11]:
        for t in range(1, len(problem.solution) + 1):
            steps = task.steps(problem, problem.solution[:t])
            assert steps == sorted(set(steps)) and all(type(s) is int and 1 <= s < t for s in steps)


@every("task")
def test_text_is_spelled_back(task: Task, option: str) -> None:
    for problem in all_problems(task)[::7]:
        for tokens in (problem.prompt, problem.solution, problem.prompt + problem.solution):
            assert task.encode(task.decode(tokens)) == tokens
    assert task.encode(task.decode(())) == ()


@every("task")
def test_demonstrations_are_responses_that_fit_and_a_function_of_the_generator(task: Task, option: str) -> None:
    rows = task.demonstrations(200, rng.generator(0, "contract.demonstrations"))
    assert len(rows) == 200
    for problem, response in rows:
        assert 1 <= len(response) <= problem.max_response
        assert min(problem.prompt + response) >= 0 and max(problem.prompt + response) < task.vocab_size
    assert rows == task.demonstrations(200, rng.generator(0, "contract.demonstrations"))
    assert rows != task.demonstrations(200, rng.generator(1, "contract.demonstrations"))


@every("task")
def test_a_task_is_a_function_of_its_numbers_and_seed(bench: Bench, task: Task, option: str) -> None:
    again, other = bench.make("task", option), bench.make("task", option, seed=1)
    assert again.fingerprint == task.fingerprint != other.fingerprint
    assert again.train_problems() == task.train_problems() != other.train_problems()


# ------------------------------------------------------------------------------------------ problems


@every("problems")
def test_fresh_starts_are_bare_training_problems_as_many_as_asked(bench: Bench, option: str) -> None:
    house = bench.house("problems", option)
    training = {p.id: p for p in house.task.train_problems()}
    for num in (0, 1, 7, 64):
        starts = house.problems.draw(num, progress_at(3))
        assert len(starts) == num
        assert all(not s.replayed and training[s.problem.id] == s.problem for s in starts)


@every("problems")
def test_fresh_starts_are_a_function_of_seed_stream_and_step(bench: Bench, option: str) -> None:
    one, two = bench.make("problems", option), bench.make("problems", option)
    for step in (5, 0, 2):  # another history
        two.draw(9, progress_at(step))

    def ids(problems: object, step: int, stream: str = "problems") -> list[str]:
        return [s.problem.id for s in problems.draw(16, progress_at(step), stream=stream)]  # type: ignore[attr-defined]

    for step in (-2, 0, 7):
        assert ids(one, step) == ids(two, step)
    assert ids(one, 0) != ids(one, 1) and ids(one, 0) != ids(one, 0, "warm_up.problems")
    assert ids(one, 0) != ids(bench.make("problems", option, seed=1), 0)
    # Sampled tokens do not name the draw: replay samples fewer of them.
    assert one.draw(16, progress_at(3, done=0.1)) == one.draw(16, progress_at(3, done=0.9))


@every("problems")
def test_rows_given_to_replay_are_the_last_ones(bench: Bench, option: str) -> None:
    problems = bench.house("problems", option).problems
    assert problems.draw(10, progress_at(4)) == problems.draw(16, progress_at(4))[:10]


# ------------------------------------------------------------------------------------------ warm start


@every("warm_start")
def test_the_warm_start_is_repeatable_and_none_changes_nothing(bench: Bench, option: str) -> None:
    task = bench.house("warm_start", option).task
    rows = sequences_of([(Start(problem=p), r) for p, r in task.demonstrations(64, rng.generator(0, "contract"))])
    policies = [bench.make("policy", "tiny", task=task) for _ in range(2)]
    before = policies[0].state_dict()
    nll = [-float(policies[0].logprob(rows)[0].mean())]
    changes = [] if option == "none" else [f"warm_start.cache_dir={bench.folder / 'cold'}", "warm_start.steps=10"]
    # Another seed than the house's, whose weights are in the cache already.
    numbers = [bench.make("warm_start", option, *changes, seed=1).prepare(policy) for policy in policies]
    nll.append(-float(policies[0].logprob(rows)[0].mean()))
    assert all(np.isfinite(x) for metrics in numbers for x in metrics.values())
    one, two = (p.state_dict() for p in policies)
    assert all(torch.equal(one[k], two[k]) for k in one)  # trained once, loaded the second time
    if option == "none":
        assert all(torch.equal(one[k], before[k]) for k in one)
    else:
        assert nll[1] < nll[0] - 0.5
        assert [m["warm_start/cached"] for m in numbers] == [0.0, 1.0]
    assert all(p.grad is None or not p.grad.any() for p in policies[0].parameters())
