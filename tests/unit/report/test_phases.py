import json
from pathlib import Path

import pytest

from rrl.report.arms import group_arms
from rrl.report.contrast import Contrast, baseline_of, contrast, over_seeds, spell
from rrl.report.cost import costs, judging_tokens
from rrl.report.load import load_run
from rrl.report.phases import MEASURES, answers, in_phase, phase_rows, phased
from rrl.report.sections import spell_bytes

ENTROPY, COVERAGE = MEASURES[0], MEASURES[3]
BOOKS = ("time/step_s", "time/rescore_s", "rollout/tokens_fresh", "rollout/tokens_replayed", "rollout/prefix_tokens",
         "replay/store_bytes", "replay/fraction")  # fmt: skip


def write(folder: Path, name: str, seed: int, entropies, *, final: float = 0.0, books=(), **last) -> None:
    """A run with one warm-up record of 100 tokens, then one record every 10 tokens."""
    folder.mkdir(parents=True)
    lines = [{"progress/step": 0, "progress/sampled_tokens": 100, "rollout/entropy_nats_fresh": 9.0}]
    for step, entropy in enumerate(entropies, start=1):
        more = dict(zip(BOOKS, books, strict=False))
        lines.append({"progress/step": step, "progress/sampled_tokens": 100 + 10 * step,
                      "rollout/entropy_nats_fresh": entropy, "explore/hard_coverage_bare": step, **more})  # fmt: skip
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    told = {"name": name, "seed": seed, "status": "finished", "final": {"eval/hard_success": final}, **last}
    (folder / "summary.json").write_text(json.dumps(told))


@pytest.fixture
def arms(tmp_path):
    write(tmp_path / "a", "rrl", 0, [3, 3, 2, 2, 1, 1], final=0.8, books=(2, 0.5, 6, 3, 4, 70, 0.4))
    write(tmp_path / "b", "rrl", 1, [5, 5, 2, 2, 2, 2], final=0.6, books=(2, 0.5, 6, 3, 4, 90, 0.4))
    write(tmp_path / "c", "ppo", 0, [1, 1, 1, 1, 0, 0], final=0.1, books=(1, 0, 10))
    write(tmp_path / "d", "ppo", 1, [2, 2, 1, 1, 0, 0], final=0.3, books=(1.5, 0, 10))
    return group_arms([load_run(tmp_path / n) for n in "abcd"])


def test_a_phase_is_a_third_of_the_tokens_after_warm_up(arms):
    run = arms[0].runs[0]  # 100 tokens of warm-up, then 110 ... 160: thirds end at 120, 140, 160
    assert [in_phase(run, ENTROPY, p) for p in range(3)] == [3.0, 2.0, 1.0]
    assert [in_phase(run, COVERAGE, p) for p in range(3)] == [2.0, 4.0, 6.0]  # a count: where the phase ends
    assert in_phase(run, MEASURES[1], 0) is None  # never recorded


def test_phases_are_means_over_seeds_and_differences_are_within_runs_and_seeds(arms):
    found = [p for p in phased(arms) if p.measure is ENTROPY]
    rrl, ppo = found
    assert [c.mean for c in rrl.by_phase] == [4.0, 2.0, 1.5]
    # early of the two seeds 3 and 5: t(.975, 1) = 12.706205, s / sqrt(2) = 1
    assert rrl.by_phase[0].half == pytest.approx(12.706205, abs=1e-5)
    assert rrl.change.mean == -2.5  # -2 and -3
    assert rrl.kept.mean == 1.5  # 1 - 0 and 2 - 0 on the same seeds
    assert ppo.kept is None  # the arm that never replayed is the baseline, wherever it stands
    assert phase_rows(found)[1] == [
        ENTROPY.label, "ppo", "1.50 \u00b1 6.35", "1.00 \u00b1 0.00", "0.00 \u00b1 0.00", "-1.50 \u00b1 6.35", "-",
    ]  # fmt: skip


def test_the_answer_in_words_says_when_it_is_not_sure(arms):
    assert answers(phased(arms)) == [
        "rrl: token entropy of fresh rows falls from 4.00 \u00b1 12.71 to 1.50 \u00b1 6.35 nats (not told apart from "
        "no change); late it has 1.50 \u00b1 6.35 more than the baseline, not told apart from 0.",
        "ppo: token entropy of fresh rows falls from 1.50 \u00b1 6.35 to 0.00 \u00b1 0.00 nats (not told apart from no "
        "change).",
    ]


def test_the_baseline_is_the_arm_without_replay(arms):
    assert baseline_of(arms).label == "ppo"
    assert baseline_of(arms[:1]).label == "rrl"


def test_a_contrast_is_paired_by_seed(arms):
    found = contrast(arms[0], arms[1], lambda run: run.final["eval/hard_success"])
    assert found.pairs == 2
    assert found.mean == pytest.approx(0.5)  # .7 and .3
    assert found.half == pytest.approx(12.706205 * 0.2, abs=1e-5)
    assert not found.sure
    assert contrast(arms[0], arms[1], lambda run: None) is None
    assert over_seeds(arms[0], lambda run: float(run.seed) if run.seed else None) == Contrast(1.0, None, 1)


def test_costs_by_hand(arms):
    baseline, (rrl, ppo) = costs(arms)
    assert baseline.label == "ppo"
    assert rrl.seconds.mean == 12.0  # 6 steps of 2 s
    assert rrl.extra_seconds.mean == 12.0 - (6.0 + 9.0) / 2
    assert rrl.replay_seconds.mean == 3.0
    assert rrl.store_bytes.mean == 80.0  # largest of each run: 70 and 90
    assert rrl.replayed_tokens.mean == 18.0
    assert rrl.prefix_tokens.mean == 24.0
    assert rrl.gain.mean == pytest.approx(0.5)
    assert (ppo.extra_seconds, ppo.gain, ppo.prefix_tokens) == (None, None, None)


def test_judging_tokens_are_those_of_no_rollout(arms):
    assert judging_tokens(arms[0].runs[0]) == 160 - 6 * (6 + 3)
    assert judging_tokens(arms[1].runs[0]) == 160 - 6 * 10


def test_numbers_are_spelt_for_a_table():
    assert spell(Contrast(1234.5, None, 1), digits=1) == "1,234.5"
    assert spell(Contrast(0.25, 0.5, 3), sign=True) == "+0.250 \u00b1 0.500"
    assert spell(None) == "-"
    assert [spell_bytes(Contrast(x, None, 1)) for x in (950, 270_300, 2.5e9)] == ["950 B", "270.3 kB", "2.5 GB"]
