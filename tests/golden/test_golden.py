"""Twenty steps of `ppo` and `rrl` against their recording: a change that moves a number must say so.

Exact on the CPU and torch of the recording; elsewhere rounding may differ, and from the first differently sampled
token on everything does, so only the first step is compared there, at 1e-6. ``make golden`` records anew.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.golden.run import ARMS, HERE, NUM_STEPS, in_a_process


def recorded(arm: str) -> dict[str, Any]:
    golden: dict[str, Any] = json.loads((HERE / f"{arm}.json").read_text())
    return golden


@pytest.mark.parametrize("arm", ARMS)
def test_the_run_is_the_recorded_one_exactly_on_its_machine_and_in_its_first_step_elsewhere(arm: str) -> None:
    now, golden = in_a_process(arm), recorded(arm)
    if all(now["machine"][k] == golden["machine"][k] for k in ("cpu", "torch")):
        for mine, theirs in zip(now["steps"], golden["steps"], strict=True):
            assert mine == theirs
        assert (now["store_keys"], now["store_digest"]) == (golden["store_keys"], golden["store_digest"])
    else:
        mine, theirs = now["steps"][0], golden["steps"][0]
        assert mine["sampled_tokens"] == theirs["sampled_tokens"]
        assert mine == pytest.approx(theirs | {"tokens_digest": mine["tokens_digest"]}, rel=1e-6, abs=1e-6)


def test_the_recording_holds_what_it_is_for() -> None:
    ppo, rrl = recorded("ppo"), recorded("rrl")
    assert [s["step"] for s in rrl["steps"]] == list(range(-2, NUM_STEPS + 1))
    assert all("learn/loss" in s and "value/loss" in s for s in ppo["steps"][3:])
    assert {s["replay/fraction"] for s in ppo["steps"][3:]} == {0.0}
    replayed = [s["replay/fraction"] for s in rrl["steps"][3:]]
    assert sum(f > 0.0 for f in replayed) >= 15 and any(s.get("replay/lessons", 0) > 0 for s in rrl["steps"])
    shared = ("tokens_digest", "value/loss")  # the value warm-up knows nothing of replay
    assert [[s[k] for k in shared] for s in ppo["steps"][:3]] == [[s[k] for k in shared] for s in rrl["steps"][:3]]
