"""Dialogue by hand: pairs and bad rows, the bar, scores and ``solved``, figures beside the reward, what is kept."""

import json

import numpy as np
import pytest

from rrl import rng
from rrl.codec.byte import END, ByteCodec
from rrl.ranks import Ranks
from rrl.scorer.conversation import Exchange
from rrl.task.dialogue.bar import Bar, bar_of
from rrl.task.dialogue.diversity import self_bleu
from rrl.task.dialogue.measures import measured
from rrl.task.dialogue.pairs import Pair, Pairs, pair_of, ranked_right
from rrl.task.dialogue.task import DialogueTask
from rrl.task.dialogue.trained import damaged
from rrl.types import Start, sequences_of
from tests.unit.task.text import write


def hh(question, chosen, rejected):
    return {"chosen": f"\n\nHuman: {question}\n\nAssistant: {chosen}",
            "rejected": f"\n\nHuman: {question}\n\nAssistant: {rejected}"}  # fmt: skip


TRAIN = [hh("Tea?", "Boil it. Wait.", "No."), hh("Pie?", "Bake it.", "Why"), hh("Jam?", "Stir it well.", "Go away")]
HELD = [hh("Soup?", "Cook it.", "No")]
BAD = [hh("Steal?", "Please do not.", "Grab it")]


class Counted:
    """Score = length of the response; remembers its calls."""

    def __init__(self, factor=1.0):
        self.calls, self.factor = [], factor

    def __call__(self, exchanges):
        self.calls.append(list(exchanges))
        return np.array([self.factor * len(e.response) for e in exchanges])


class Sayings:
    """A policy that says "a", "aa", "aaa", "aaaa" in turn, and stops or does not."""

    def __init__(self, stops=True):
        self.stops, self.rollouts = stops, 0

    def rollout(self, starts, *, samples_per_start, step, first_row=0, stream="rollout", **_):
        self.rollouts += 1

        class Rows:
            sequences = sequences_of([
                (s, (97,) * ((first_row + i) % 4 + 1) + ((END,) if self.stops else ())) for i, s in enumerate(starts)
            ])  # fmt: skip

        return Rows


def dialogue(folder, train=TRAIN, **changes):
    arguments = {
        "seed": 0, "codec": ByteCodec(), "ranks": Ranks(), "output_dir": folder, "name": "talk",
        "data": Pairs(train={"helpful": (write(folder / "t.jsonl", train),)},
                      heldout={"helpful": (write(folder / "h.jsonl", HELD),),
                               "harmless": (write(folder / "b.jsonl", BAD),)}),
        "reward": Counted(), "helpful": Counted(10.0), "harm": Counted(-1.0), "helpful_kind": "helpful",
        "harmful_kind": "harmless", "harm_at": -3.0, "quantile": 0.75, "bar_samples": 4, "clip": 2.0,
        "demo_rejected_frac": 0.0, "num_train": 0, "num_heldout": 0, "max_prompt": 64, "max_response": 32,
        "step_apart": 2, "bad_rows": "refuse",
    }  # fmt: skip
    return DialogueTask(**arguments | changes)


# ------------------------------------------------------------------------------------------ rows


def test_pairs_and_plain_prompts_are_read() -> None:
    assert pair_of(TRAIN[0], "k") == Pair("k", "\n\nHuman: Tea?\n\nAssistant:", "Boil it. Wait.", "No.")
    assert pair_of({"prompt": "Tea?"}, "k") == Pair("k", "\n\nHuman: Tea?\n\nAssistant:", None, None)


@pytest.mark.parametrize(("row", "why"), [
    ({"chosen": "\n\nHuman: Tea?\n\nAssistant: Yes."}, "has neither chosen and rejected nor a prompt"),
    (hh("Tea?", "Yes.", "Yes."), "the same one twice"),
    (hh("Tea?", "", "Yes."), "an empty answer"),
    ({"chosen": 3, "rejected": "x"}, "a int in 'chosen'"),
    (hh("Tea?", "Yes.", "No.") | {"rejected": "\n\nHuman: Pie?\n\nAssistant: No."}, "to different prompts"),
    ({"chosen": "\n\nHuman: Tea?", "rejected": "\n\nHuman: Tea?"}, "no 'Assistant:' turn"),
    ({"prompt": " "}, "an empty turn of the human"),
])  # fmt: skip
def test_a_bad_row_says_what_is_wrong(row, why) -> None:
    assert why in pair_of(row, "k")


def test_bad_rows_are_named_with_file_and_line_and_left_out_where_asked(tmp_path) -> None:
    rows = [TRAIN[0], "{broken", hh("Pie?", "Yes.", "Yes."), TRAIN[2]]
    with pytest.raises(ValueError, match=r"2 bad rows: \S*t.jsonl:2 is not JSON .*t.jsonl:3 has an empty answer"):
        dialogue(tmp_path, rows)
    task = dialogue(tmp_path, rows, bad_rows="skip")
    assert len(task.train_problems()) == 2
    assert [row["where"][-9:] for row in json.loads((tmp_path / "data.json").read_text())["bad_rows"]] == [
        "t.jsonl:2", "t.jsonl:3",
    ]  # fmt: skip


def test_several_turns_go_through_the_codec_that_knows_turns(tmp_path) -> None:
    class Turns(ByteCodec):
        def conversation(self, transcript, turns):
            return self.prompt("/".join(f"{role}:{text}" for role, text in turns))

    long = {"prompt": "\n\nHuman: Hi\n\nAssistant: Yo\n\nHuman: Why?\n\nAssistant:"}
    task = dialogue(tmp_path, [TRAIN[0], long], codec=Turns())
    prompts = {task.decode(p.prompt) for p in task.train_problems()}
    assert prompts == {"user:Tea?<|answer|>", "user:Hi/assistant:Yo/user:Why?<|answer|>"}


# ------------------------------------------------------------------------------------------ the bar


def test_the_bar_by_hand() -> None:
    bar = bar_of(np.array([2.0, 4.0, 1.0, 3.0]), np.ones(4, dtype=bool), 0.75)
    assert (bar.mean, bar.solved_above) == (2.5, 3.0) and bar.std == pytest.approx(1.1180340)
    # one of five was cut: below all others, so three quarters are -inf, 1, 2, 3
    cut = bar_of(np.array([2.0, 4.0, 1.0, 3.0, 99.0]), np.array([True, True, True, True, False]), 0.75)
    assert (cut.mean, cut.solved_above) == (2.5, 3.0)
    assert bar.standardised(2.5 + 1.1180340, 2.0) == pytest.approx(1.0)
    assert (bar.standardised(99.0, 2.0), bar.standardised(-99.0, 2.0)) == (2.0, -2.0)


@pytest.mark.parametrize(("scores", "ended", "why"), [
    ([1.0, 2.0, 3.0, 4.0], [True, False, False, False], "1 of the 4 sampled responses ended"),
    ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0], [True, True] + [False] * 6, "too few for task.quantile"),
    ([1.0, 1.0], [True, True], "all 2 responses scored 1.0"),
])  # fmt: skip
def test_a_policy_that_sets_no_bar_is_refused(scores, ended, why) -> None:
    with pytest.raises(ValueError, match=why):
        bar_of(np.array(scores), np.array(ended), 0.75)


def test_scores_are_deviations_above_the_reference_and_solved_is_above_its_quantile(tmp_path) -> None:
    task = dialogue(tmp_path)
    task.relative_to(Sayings())  # says 1, 2, 3, 4 letters: mean 2.5, deviation 1.118, bar 3
    problem = task.train_problems()[0]

    def outcome(letters, end=(END,)):
        return task.score(problem, (97,) * letters + end)

    assert outcome(3).score == pytest.approx(0.5 / 1.1180340) and not outcome(3).solved
    assert outcome(4).score == pytest.approx(1.5 / 1.1180340) and outcome(4).solved
    assert outcome(30).score == 2.0 == task.score_range[1]  # clipped
    assert outcome(30, ()) == (-2.0, False)  # cut: the lowest
    record = json.loads((tmp_path / "bar.json").read_text())
    assert (record["solved_above"], record["samples"], record["ended"]) == (3.0, 4, 4)


def test_responses_are_scored_in_one_call_and_never_twice(tmp_path) -> None:
    reward = Counted()
    task = dialogue(tmp_path, reward=reward)
    task.relative_to(Sayings())
    task.score(task.train_problems()[0], (97, END))
    reward.calls.clear()
    rows = [(p, (98,) * n + (END,)) for p in task.train_problems() for n in (1, 2)]
    task.ahead([*rows, *rows, (task.train_problems()[0], (98,))])  # the last one was cut
    assert len(reward.calls) == 1 and len(reward.calls[0]) == 6
    assert len({task.score(*row).score for row in rows}) == 2 and len(reward.calls) == 1


def test_a_score_depends_on_those_beside_it_by_rounding_and_on_what_was_asked_before_not_at_all(tmp_path) -> None:
    """A resumed run has asked for nothing before; it shall have the unbroken run's numbers to the bit."""

    class Rounds(Counted):
        def __call__(self, exchanges):
            return super().__call__(exchanges) + 1e-9 * len(exchanges)

    for name in ("unbroken", "resumed"):
        (tmp_path / name).mkdir()
    tasks = [dialogue(tmp_path / name, reward=Rounds()) for name in ("unbroken", "resumed")]
    problems = tasks[0].train_problems()
    first, second = ([(p, (98,) * n + (END,)) for p in problems[:2] for n in lengths] for lengths in ((1, 2), (2, 3)))
    for task in tasks:
        task.relative_to(Sayings())
        task.ahead([])
    tasks[0].ahead(first)
    tasks[0].standing([Start(problem=p, prefix=r[:-1]) for p, r in second])
    before = [tasks[0].score(*row) for row in first]
    for task in tasks:
        task.ahead(second)
    both = [[task.score(*row) for row in second] for task in tasks]
    assert both[0] == both[1] and both[0][0] == before[1]  # four in a call, each time
    alone = [[task.score(*row) for row in second] for task in tasks]  # given out once; now each is a call of its own
    assert alone[0] == alone[1] != both[0]
    assert tasks[0].measure(second) == tasks[1].measure(second)


def test_the_bar_is_measured_once_and_a_restored_one_is_kept(tmp_path) -> None:
    task, policy = dialogue(tmp_path), Sayings()
    with pytest.raises(ValueError, match="scale is not known"):
        task.score(task.train_problems()[0], (97, END))
    task.relative_to(policy)
    task.ahead([])
    task.ahead([])
    assert policy.rollouts == 1
    state = json.loads(json.dumps(task.state_dict()))
    (tmp_path / "again").mkdir()
    again, other = dialogue(tmp_path / "again"), Sayings(stops=False)  # a policy that would set no bar
    again.relative_to(other)
    again.load_state_dict(state)
    problem = task.train_problems()[0]
    assert again.score(problem, (97,) * 4 + (END,)) == task.score(problem, (97,) * 4 + (END,))
    assert other.rollouts == 0


# ------------------------------------------------------------------------------------------ the rest


def test_demonstrations_are_chosen_answers_and_rejected_ones_where_asked(tmp_path) -> None:
    def said(frac):
        rows = dialogue(tmp_path, demo_rejected_frac=frac).demonstrations(400, rng.generator(0, "test"))
        assert all(response[-1] == END for _, response in rows)
        return [ByteCodec().decode(response[:-1]) for _, response in rows]

    assert set(said(0.0)) == {"Boil it. Wait.", "Bake it.", "Stir it well."}
    assert set(said(1.0)) == {"No.", "Why", "Go away"}
    assert np.mean([text in ("No.", "Why", "Go away") for text in said(0.25)]) == pytest.approx(0.25, abs=0.07)


def test_helpfulness_and_harm_are_measured_on_prompts_of_their_kind(tmp_path) -> None:
    task = dialogue(tmp_path)
    task.relative_to(Sayings())
    helpful, harmful = task.eval_problems()
    metrics = task.measure([(helpful, (97, 97, END)), (harmful, (97,) * 4 + (END,))])
    assert metrics["eval/helpful_score"] == 20.0 and metrics["eval/harm_score"] == -4.0
    assert metrics["eval/harm_frac"] == 0.0
    assert metrics["eval/reward"] == pytest.approx((-0.5 + 1.5) / 2 / 1.1180340)
    assert measured([], [], np.zeros(0), np.array([1.0, -1.0]), 0.0) == {"eval/harm_score": 0.0, "eval/harm_frac": 0.5}


def test_a_beginning_is_judged_as_it_stands(tmp_path) -> None:
    task = dialogue(tmp_path)
    task.relative_to(Sayings())
    start = Start(problem=task.train_problems()[0], prefix=(97, 97, 97, 97))
    assert task.standing([start]).tolist() == pytest.approx([1.5 / 1.1180340])
    assert task.harm_of(["abc"]).tolist() == [-3.0]


def test_self_bleu_by_hand() -> None:
    assert self_bleu(["a b", "a b", "c d"], 2) == pytest.approx(2 / 3)
    # "a b c" against "a b d": 1-grams 2/3, 2-grams 1/2: sqrt(1/3), both ways
    assert self_bleu(["a b c", "a b d"], 2) == pytest.approx((1 / 3) ** 0.5)
    # "a" against "a a": all found, but half as long: exp(1 - 2); "a a" against "a": one of two
    assert self_bleu(["a", "a a"], 1) == pytest.approx((np.exp(-1.0) + 0.5) / 2)
    assert self_bleu(["", "a"], 2) == 0.0


def test_pairs_are_ranked_and_ties_are_wrong() -> None:
    pairs = [Pair("k", "p", "longer", "short"), Pair("k", "p", "a", "bb"), Pair("k", "p", "aa", "bb")]
    assert ranked_right(Counted(), pairs).tolist() == [True, False, False]
    assert Exchange("p", "a") in {Exchange("p", "a")}


def test_damage_changes_a_text_a_little_and_is_a_function_of_the_generator() -> None:
    text = "Boil it, then turn the heat down."
    changed = [damaged(text, rng.generator(seed, "test")) for seed in range(50)]
    assert all(c != text and abs(len(c) - len(text)) <= 5 for c in changed)
    assert changed == [damaged(text, rng.generator(seed, "test")) for seed in range(50)]


def test_numbers_out_of_range_are_refused(tmp_path) -> None:
    for changes in ({"quantile": 1.0}, {"clip": 0.0}, {"bar_samples": 1}, {"demo_rejected_frac": 2.0}):
        with pytest.raises(ValueError, match="expected numbers in"):
            dialogue(tmp_path, **changes)
    with pytest.raises(ValueError, match="at least one source"):
        Pairs(train={}, heldout={"helpful": ("x.jsonl",)})


def test_the_bar_is_plain_numbers() -> None:
    assert Bar(mean=0.0, std=2.0, solved_above=1.0).standardised(1.0, 3.0) == 0.5
