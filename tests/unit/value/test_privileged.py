"""A critic that sees the answer: it uses it, and nobody else gets to see it."""

from dataclasses import replace

import pytest
import torch

from rrl import loop
from rrl.protocols import Task
from rrl.saver import first_progress
from rrl.types import Problem, Rollouts, Sequences, Start, Tokens
from rrl.value.privileged import Privileged, Seeing, secret_of
from tests.small import small_house
from tests.unit.learner.tabular import SoloRanks, TabularTrunk, estimated_of, progress, scored_of
from tests.unit.policy.small import Digits, tiny
from tests.unit.value.test_critic import ESTIMATION, FITTING


def problem(name="a", answer="7 8", solution=(7, 8, 9), prompt=(1, 2)):
    return Problem(
        id=name, prompt=prompt, answer=answer, solution=solution, task="digits", difficulty="hard", max_response=6,
        stop=(), exact_length=True,
    )  # fmt: skip


class Asked(Digits):
    def __init__(self, *problems):
        self.problems = list(problems or [problem()])

    def train_problems(self):
        return self.problems


class Notes(TabularTrunk):
    """Keeps what it was shown."""

    def hidden(self, sequences):
        self.shown = sequences
        return torch.zeros(len(sequences.actions), self.width)

    def start_hidden(self, starts):
        self.shown = starts
        return torch.zeros(len(starts), self.width)


def privileged(policy=None, task=None, sees="answer", **changed):
    return Privileged(policy=policy or tiny(max_positions=24), task=task or Asked(), ranks=SoloRanks(), seed=0,
                      sees=sees, init="scratch", num_layers=1, **ESTIMATION | FITTING | changed)


def test_every_context_begins_with_the_secret_and_a_separator():
    trunk = Notes()
    seeing = Seeing(trunk, lambda p: p.solution[:2], separator=0)
    start, other = Start(problem=problem(), prefix=(3, -5)), Start(problem=problem("b", solution=(4, 4, 4)))
    seeing.start_hidden([start, other])
    assert [s.context for s in trunk.shown] == [(7, 8, 0, 1, 2, 3, 4), (4, 4, 0, 1, 2)]
    scored = scored_of([(start, (5,)), (other, (6, 7))], [0.0, 0.0])
    seeing.hidden(scored.rollouts.sequences)
    assert [s.context for s in trunk.shown.starts] == [(7, 8, 0, 1, 2, 3, 4), (4, 4, 0, 1, 2)]
    assert torch.equal(trunk.shown.actions, scored.rollouts.sequences.actions)
    assert scored.rollouts.sequences.starts == (start, other) and start.problem.prompt == (1, 2)


def test_what_it_may_see_is_the_answers_text_or_the_solutions_tokens():
    assert secret_of(Asked(), "answer")(problem()) == (7, 8)
    assert secret_of(Asked(), "solution")(problem()) == (7, 8, 9)


def test_it_tells_apart_what_only_the_answer_tells_apart():
    # Two problems with one prompt: token 3 is right for one and wrong for the other.
    left, right = problem("l", answer="3"), problem("r", answer="4")
    rows = [(Start(problem=left), (3, 1)), (Start(problem=right), (3, 1))]
    estimated = estimated_of(rows, None, scores=[1.0, 0.0], target=[1.0, 1.0, 0.0, 0.0])
    value = privileged(task=Asked(left, right), lr=0.02, minibatches=1)
    for _ in range(60):
        value.fit(estimated, progress())
    mean = value.success([Start(problem=left, prefix=(3,)), Start(problem=right, prefix=(3,))])[0]
    assert mean[0] > 0.8 and mean[1] < 0.2


def test_a_problem_that_has_nothing_to_show_is_refused_by_its_key():
    with pytest.raises(ValueError, match=r"value.sees is solution, but 1 of 2 training problems of task 'digits' have"):
        privileged(task=Asked(problem(), problem("b", solution=())), sees="solution")
    with pytest.raises(ValueError, match=r"'b' the first; expected value.sees=solution, or value=critic"):
        privileged(task=Asked(problem(), problem("b", answer="")), sees="answer")


def test_a_network_too_short_for_answer_and_response_says_so_when_it_is_built():
    # 2 of the answer, a separator, 2 of the prompt, 6 of the response.
    assert privileged(policy=tiny(max_positions=11)).success([Start(problem=problem())])[0].tolist() == [0.5]
    with pytest.raises(ValueError, match="a row has 11 tokens; expected at most policy.backbone.max_positions = 10"):
        privileged(policy=tiny(max_positions=10))


def test_fitting_it_moves_nothing_of_the_policy_and_estimates_hand_the_very_rows_on():
    policy = tiny(max_positions=24)
    before = [p.detach().clone() for p in policy.parameters()]
    value = privileged(policy=policy)
    scored = scored_of([(Start(problem=problem()), (3, 4))], [1.0])
    estimated = value.estimate(scored)
    value.fit(estimated, progress())
    assert estimated.scored is scored
    assert all(torch.equal(a, b) and b.grad is None for a, b in zip(before, policy.parameters(), strict=True))


class Watching:
    """Looks over the policy's shoulder: every context that it reads, scores or learns from, and all it says."""

    def __init__(self, policy):
        self.contexts: set[tuple[str, Tokens]] = set()
        self.said: set[tuple[str, Tokens]] = set()  # beginnings of whole responses
        for verb in ("rollout", "logprob", "loss"):
            setattr(policy, verb, self._watched(getattr(policy, verb)))

    def _watched(self, verb):
        def call(rows, *args, **kwargs):
            starts = rows.starts if isinstance(rows, Sequences) else rows
            self.contexts |= {(s.problem.id, s.context) for s in starts}
            found = verb(rows, *args, **kwargs)
            if isinstance(found, Rollouts):
                for i, tokens in enumerate(found.sequences.all_tokens()):
                    start = found.sequences.start_of(i)
                    whole = start.prefix + tokens
                    self.said |= {(start.problem.id, whole[:t]) for t in range(len(whole) + 1)}
            return found

        return call


def test_in_a_whole_run_no_input_of_the_policy_and_no_stored_prefix_holds_what_is_privileged(tmp_path):
    house = small_house(
        tmp_path / "run", "value=privileged", "run.starts_per_step=16", "run.warm_up.starts=16", "warm_start.steps=2",
        "run.warm_up.batches=1", "evaluate.every_steps=2", "tracker=[]", "task.num_hard=8", "task.num_easy=8",
        "replay/schedule=constant", "replay.rescore_every=1", "run.token_budget=800",
    )  # fmt: skip
    task: Task = house.task
    prompts = {p.id: p.prompt for p in task.train_problems() + task.eval_problems()}
    watching = Watching(house.policy)
    loop.train(house, loop.warm_up(house, first_progress(house.run), lambda p: None), lambda p: None)

    # What the policy read is a bare prompt of the task, and behind it nothing but what it had said itself.
    read = {(name, context[: len(prompts[name])], context[len(prompts[name]) :]) for name, context in watching.contexts}
    assert {(name, prompt) for name, prompt, _ in read} <= set(prompts.items())
    assert {(name, rest) for name, _, rest in read} <= watching.said | {(name, ()) for name in prompts}
    assert any(rest for _, _, rest in read)  # prefixes were replayed
    stored = [(row["problem"], tuple(row["tokens"])) for row in house.replay.rows()]
    assert stored and set(stored) <= watching.said


def test_other_answers_change_what_is_told_and_not_one_row_of_what_is_sampled(tmp_path):
    policy = tiny(max_positions=24)
    starts = [Start(problem=problem("l", answer="3")), Start(problem=problem("r", answer="4 4"))]
    others = [Start(problem=replace(s.problem, answer="9 9 9", solution=(9, 9))) for s in starts]
    one, two = (policy.rollout(which, samples_per_start=3, step=0) for which in (starts, others))
    assert torch.equal(one.sequences.actions, two.sequences.actions)
    value = privileged(policy=policy, task=Asked(*[s.problem for s in starts + others]))
    rows = estimated_of([(starts[0], (3, 4)), (others[0], (3, 4))], None, scores=[1.0, 0.0], target=[1.0, 1, 0, 0])
    for _ in range(5):
        value.fit(rows, progress())
    mean = value.success([starts[0], others[0]])[0]
    assert mean[0] != mean[1]
