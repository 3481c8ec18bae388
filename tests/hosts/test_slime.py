"""slime's data source around a fake of its ``Sample``: partial samples, put-back ones, booking, save and load."""

from __future__ import annotations

import types
from pathlib import Path
from typing import Any

import pytest

from rrl.hosts.slime import ReplayDataSource, observe
from tests.contract.stream import same
from tests.hosts.fake_slime import Deals, Status
from tests.hosts.words import saved_tokenizer

NEW, GROUP = 6, 2
OVERRIDES = ["replay/schedule=constant", "replay.schedule.rho=1.0", "replay.max_replay_frac=1.0", "replay/cut=token",
             "replay/admission=first_boundary"]
PROMPT, IDS = "<2> <30> <17>", [2, 30, 17]


def arguments(folder: Path, **more: Any) -> Any:
    return types.SimpleNamespace(**{
        "hf_checkpoint": str(saved_tokenizer(folder / "tokenizer")), "rollout_max_response_len": NEW, "num_rollout": 10,
        "rrl": OVERRIDES, "reward_key": None, "save": str(folder), "load": None,
    } | more)  # fmt: skip


def lived(source: ReplayDataSource, args: Any, new: tuple[int, ...], reward: float) -> list[Any]:
    """One rollout of one prompt: deal, generate, reward, book."""
    (group,) = source.get_samples(1)
    for sample in group:
        sample.go_on(tuple(IDS), new)
        sample.reward = reward
    observe(args, [group], source.get_samples)
    return group


def test_a_replayed_prompt_comes_as_partial_samples_behind_one_prefix(tmp_path: Path) -> None:
    args = arguments(tmp_path)
    source = ReplayDataSource(args, inner=Deals([PROMPT] * 4, GROUP))
    first = lived(source, args, (11, 12, 4), 0.0)
    assert all(s.tokens == [*IDS, 11, 12, 4] and s.loss_mask == [1, 1, 1] for s in first)
    (group,) = source.get_samples(1)
    for sample in group:
        assert sample.tokens == [*IDS, 11] and sample.response == "<11>" and sample.response_length == 1
        assert sample.loss_mask == [0] and sample.rollout_log_probs == [0.0] and sample.status is Status.ABORTED
    for sample in group:
        sample.go_on(tuple(IDS), (13, 4))
        sample.reward = 1.0
        assert sample.loss_mask == [0, 1, 1] and sample.response_length == 3
    metrics = source.observe([group])
    assert metrics["replay/fraction"] == 1.0 and metrics["replay/conversion"] == 1.0


def test_what_slime_puts_back_and_what_is_unfinished_is_left_alone(tmp_path: Path) -> None:
    args = arguments(tmp_path)
    inner = Deals([PROMPT] * 4, GROUP)
    source = ReplayDataSource(args, inner=inner)
    lived(source, args, (11, 12, 4), 0.0)
    (group,) = inner.get_samples(1)
    for sample in group:
        sample.tokens, sample.response_length, sample.status = [*IDS, 40], 1, Status.ABORTED
    source.add_samples([group])
    assert inner.put_back == [group]
    inner.get_samples = lambda num: [group]  # type: ignore[method-assign,assignment]
    assert source.get_samples(1) == [group] and group[0].tokens == [*IDS, 40]
    assert source.observe([group]) == {}  # nothing finished


def test_it_is_saved_beside_slimes_state_and_goes_on_from_there(tmp_path: Path) -> None:
    args = arguments(tmp_path)
    source = ReplayDataSource(args, inner=Deals([PROMPT] * 4, GROUP))
    lived(source, args, (11, 12, 4), 0.0)
    source.save(0)
    assert (tmp_path / "rollout" / "rrl_0" / "state.json").is_file()
    again = ReplayDataSource(arguments(tmp_path, load=str(tmp_path)), inner=Deals([PROMPT] * 4, GROUP))
    again.load(0)
    assert same(again.session.state_dict(), source.session.state_dict())
    assert again.get_samples(1)[0][0].tokens == source.get_samples(1)[0][0].tokens == [*IDS, 11]
    with pytest.raises(ValueError, match="no state of replay was saved"):
        again.load(3)


def test_a_reward_of_none_another_sample_type_and_a_foreign_data_source_are_refused(tmp_path: Path) -> None:
    args = arguments(tmp_path)
    source = ReplayDataSource(args, inner=Deals([PROMPT] * 4, GROUP))
    with pytest.raises(ValueError, match="has reward None; expected a number"):
        lived(source, args, (11, 12, 4), None)  # type: ignore[arg-type]
    lived(source, args, (11, 12, 4), 0.0)
    other = types.SimpleNamespace(prompt=PROMPT, tokens=[], status=Status.PENDING, metadata={})
    source._inner = types.SimpleNamespace(get_samples=lambda num: [[other]])
    with pytest.raises(ValueError, match="slime's Sample has no field 'response'"):
        source.get_samples(1)
    with pytest.raises(ValueError, match="--data-source-path rrl.hosts.slime.ReplayDataSource"):
        observe(args, [], Deals([], 1).get_samples)


def test_filling_before_the_first_update_is_refused_where_the_host_cannot(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="host.fill_rows is 4, which slime has no way to sample"):
        ReplayDataSource(arguments(tmp_path, rrl=["host.fill_rows=4"]), inner=Deals([], GROUP))


def test_messages_instead_of_text_and_a_context_too_short_are_refused(tmp_path: Path) -> None:
    args = arguments(tmp_path, rollout_max_context_len=8)
    source = ReplayDataSource(args, inner=Deals([PROMPT] * 4, GROUP))
    lived(source, args, (11, 12, 4), 0.0)
    with pytest.raises(ValueError, match="--rollout-max-context-len is 8: lower --rollout-max-response-len"):
        source.get_samples(1)
    talks = ReplayDataSource(args, inner=Deals([[{"role": "user", "content": "x"}]], GROUP))
    with pytest.raises(ValueError, match="--apply-chat-template"):
        talks.get_samples(1)
