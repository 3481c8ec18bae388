import numpy as np
import pytest
import torch

from rrl.policy.engine.draw import draw
from rrl.types import sequences_of
from tests.unit.policy.small import MIXED, start, tiny, tiny_hf

POLICIES = [tiny, tiny_hf]


def rows_of(rollouts):
    sequences = rollouts.sequences
    return [sequences.tokens_of(i) for i in range(sequences.num_rows)]


def test_a_uniform_number_picks_the_token_whose_stretch_of_the_sum_holds_it():
    logits = torch.tensor([[0.2, 0.5, 0.3]]).log().repeat(5, 1)
    token, logprob, entropy = draw(logits, torch.tensor([0.0, 0.1, 0.3, 0.69, 0.71], dtype=torch.float64), 1.0, False)
    assert token.tolist() == [0, 0, 1, 1, 2]
    torch.testing.assert_close(logprob.exp(), torch.tensor([0.2, 0.2, 0.5, 0.5, 0.3]))
    torch.testing.assert_close(entropy, torch.full((5,), 1.0296530))


def test_the_largest_uniform_number_never_picks_a_forbidden_token():
    logits = torch.tensor([[0.0, 0.0, -torch.inf]])
    token, _, entropy = draw(logits, torch.tensor([1 - 2**-53], dtype=torch.float64), 1.0, False)
    assert token.tolist() == [1]
    torch.testing.assert_close(entropy, torch.tensor([0.6931472]))


@pytest.mark.parametrize("make", POLICIES)
def test_one_batch_of_sixteen_equals_sixteen_batches_of_one_and_any_cut_of_them(make):
    together = rows_of(make().rollout(MIXED, samples_per_start=1, step=3))
    alone = [rows_of(make().rollout([s], samples_per_start=1, step=3, first_row=i))[0] for i, s in enumerate(MIXED)]
    assert together == alone
    assert together == rows_of(make(rows_per_batch=5).rollout(MIXED, samples_per_start=1, step=3))
    assert len(set(together)) > 10


@pytest.mark.parametrize("make", POLICIES)
def test_the_company_of_a_row_cannot_change_it(make):
    together = rows_of(make().rollout(MIXED, samples_per_start=1, step=0, first_row=7))
    others = [*MIXED[8:], *MIXED[:8]]
    mixed = rows_of(make().rollout([*others, *MIXED], samples_per_start=1, step=0, first_row=7 - 16))
    assert mixed[16:] == together


def test_the_tiny_engine_and_transformers_sample_the_same_rows():
    ours, theirs = (make().rollout(MIXED, samples_per_start=2, step=1) for make in POLICIES)
    assert rows_of(ours) == rows_of(theirs)
    assert ours.ended.tolist() == theirs.ended.tolist()
    torch.testing.assert_close(ours.behavior_logprob, theirs.behavior_logprob, rtol=0, atol=1e-5)
    torch.testing.assert_close(ours.behavior_entropy, theirs.behavior_entropy, rtol=0, atol=1e-5)


@pytest.mark.parametrize("make", POLICIES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_log_probs_while_sampling_equal_those_while_scoring(make, dtype):
    policy = make(dtype=dtype, temperature=0.7)
    rollouts = policy.rollout(MIXED, samples_per_start=2, step=0)
    logprob, entropy = policy.logprob(rollouts.sequences)
    torch.testing.assert_close(logprob, rollouts.behavior_logprob, rtol=0, atol=1e-5)
    torch.testing.assert_close(entropy, rollouts.behavior_entropy, rtol=0, atol=1e-5)


@pytest.mark.parametrize("make", POLICIES)
def test_rows_end_at_a_stop_token_which_they_keep_or_at_the_limit_which_counts_the_prefix(make):
    rollouts = make().rollout(MIXED, samples_per_start=4, step=0)
    sequences = rollouts.sequences
    stopped = 0
    for i in range(sequences.num_rows):
        begin, tokens = sequences.start_of(i), sequences.tokens_of(i)
        limit = begin.problem.max_response - len(begin.prefix)
        hits = [u for u, token in enumerate(tokens) if token in begin.problem.stop]
        assert hits in ([], [len(tokens) - 1])
        assert len(tokens) == limit or hits
        assert bool(rollouts.ended[i]) == bool(hits)
        stopped += bool(hits)
    assert 0 < stopped < sequences.num_rows


@pytest.mark.parametrize("make", POLICIES)
def test_reaching_an_exact_length_is_an_end_and_not_a_cut(make):
    starts = [start(max_response=3, exact_length=True), start(max_response=3)]
    rollouts = make().rollout(starts, samples_per_start=1, step=0)
    assert rollouts.ended.tolist() == [True, False]


@pytest.mark.parametrize("make", POLICIES)
def test_greedy_takes_the_likeliest_token_whatever_the_noise(make):
    policy = make()
    first, second = (policy.rollout(MIXED, samples_per_start=1, step=step, greedy=True) for step in (0, 1))
    assert rows_of(first) == rows_of(second)
    every_token = sequences_of([(MIXED[0], (token,)) for token in range(11)])
    assert rows_of(first)[0][0] == int(policy.logprob(every_token)[0].argmax())


def test_noise_depends_on_seed_stream_step_and_row():
    begin = [start(max_response=8)]
    base = rows_of(tiny().rollout(begin, samples_per_start=1, step=0))
    assert base == rows_of(tiny().rollout(begin, samples_per_start=1, step=0))
    assert base != rows_of(tiny().rollout(begin, samples_per_start=1, step=1))
    assert base != rows_of(tiny().rollout(begin, samples_per_start=1, step=0, first_row=1))
    assert base != rows_of(tiny().rollout(begin, samples_per_start=1, step=0, stream="evaluate"))


def test_a_replayed_row_uses_its_first_number_for_its_first_sampled_token():
    policy = tiny()
    fresh = policy.rollout([start(prompt=(1, 2, 3), max_response=4)], samples_per_start=1, step=0)
    replayed = policy.rollout([start(prompt=(1, 2), prefix=(3,), max_response=5)], samples_per_start=1, step=0)
    assert rows_of(fresh) == rows_of(replayed)


def test_sampled_frequencies_follow_the_probabilities():
    policy = tiny()
    begin = start(max_response=1)
    drawn = policy.rollout([begin], samples_per_start=4000, step=0).sequences.actions
    frequency = torch.bincount(drawn, minlength=11) / 4000
    exact = policy.logprob(sequences_of([(begin, (token,)) for token in range(11)]))[0].exp()
    assert float((frequency - exact).abs().max()) < 0.03  # 4 standard deviations at p = .5


def test_a_response_that_could_outgrow_the_network_is_refused():
    with pytest.raises(ValueError, match="raise policy.backbone.max_positions"):
        tiny().rollout([start(max_response=23)], samples_per_start=1, step=0)


def test_an_engine_refuses_the_other_familys_network():
    policy = tiny()
    policy._engine = tiny_hf()._engine
    with pytest.raises(ValueError, match="use TinyEngine"):
        policy.rollout([start()], samples_per_start=1, step=0)


@pytest.mark.parametrize("compact_below", [0.0, 1.0])
def test_when_finished_rows_leave_cannot_change_the_others(compact_below):
    expected = rows_of(tiny_hf().rollout(MIXED, samples_per_start=2, step=0))
    assert rows_of(tiny_hf(compact_below=compact_below).rollout(MIXED, samples_per_start=2, step=0)) == expected


@pytest.mark.parametrize("make", POLICIES)
def test_numbered_rows_say_the_same_wherever_they_stand(make):
    numbers = np.array([2**64 - 1, 5, 2**63 + 7, 5], dtype=np.uint64)
    whole = rows_of(make().rollout(MIXED[:2], samples_per_start=2, step=3, row_numbers=numbers))
    turned = rows_of(make().rollout(MIXED[1::-1], samples_per_start=2, step=3, row_numbers=numbers[[2, 3, 0, 1]]))
    assert turned == [whole[i] for i in (2, 3, 0, 1)]
    plain = rows_of(make().rollout(MIXED[:2], samples_per_start=2, step=3, first_row=7))
    assert plain == rows_of(make().rollout(MIXED[:2], samples_per_start=2, step=3, row_numbers=np.arange(7, 11)))


@pytest.mark.parametrize("rows_per_batch", [64, 6])
def test_a_start_is_read_once_however_many_samples_it_has_and_the_tokens_are_those_of_rows_alone(rows_per_batch):
    policy, begin = tiny_hf(rows_per_batch=rows_per_batch), MIXED[:3]
    calls = []
    hook = policy.backbone.decoder.register_forward_pre_hook(
        lambda module, args, options: calls.append(tuple(options["input_ids"].shape)), with_kwargs=True
    )
    together = rows_of(policy.rollout(begin, samples_per_start=4, step=2))
    hook.remove()
    # Contexts have 2, 3 and 4 tokens; whatever has more than one column is a context.
    assert sum(rows for rows, columns in calls if columns > 1) == 3
    alone = [
        rows_of(policy.rollout([s], samples_per_start=1, step=2, first_row=4 * i + k))[0]
        for i, s in enumerate(begin) for k in range(4)
    ]  # fmt: skip
    assert together == alone
    assert max(rows for rows, columns in calls if columns == 1) <= min(12, rows_per_batch)


def test_finished_rows_leave_the_batch():
    policy = tiny_hf(compact_below=1.0)
    calls = []
    policy.backbone.decoder.register_forward_pre_hook(
        lambda module, args, options: calls.append(len(options["input_ids"])), with_kwargs=True
    )
    rollouts = policy.rollout(MIXED, samples_per_start=2, step=0)
    lengths = rollouts.sequences.lengths
    # After the contexts, one call a token for the rows that have more to say.
    assert calls[1:] == [int((lengths > u).sum()) for u in range(1, int(lengths.max()))]
