"""The gate's own parts: its sample of slow tests and its verdict on the default training."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.conftest import ROOT, slow_sample
from tests.e2e.check_default_run import judge, read_finals

GOOD = {
    "ppo": {"eval/hard_success": 0.001, "eval/capability": 0.93},
    "rrl": {"eval/hard_success": 0.91, "eval/capability": 0.98},
}


def test_the_slow_sample_depends_on_the_commit_and_on_nothing_else() -> None:
    names = [f"tests/test_{i}.py::test" for i in range(50)]
    first = slow_sample(names, 5, commit="a1")
    assert len(first) == 5
    assert slow_sample(names[::-1], 5, commit="a1") == first
    assert slow_sample(names, 5, commit="b2") != first


def test_every_slow_test_is_sampled_at_some_commit() -> None:
    names = [f"tests/test_{i}.py::test" for i in range(10)]
    assert set().union(*(slow_sample(names, 2, commit=str(c)) for c in range(60))) == set(names)


def test_the_usual_figures_pass() -> None:
    assert all(holds for _, holds in judge(GOOD))


@pytest.mark.parametrize(
    ("arm", "figure", "broken"),
    [("ppo", "eval/hard_success", 0.16), ("ppo", "eval/capability", 0.69), ("rrl", "eval/hard_success", 0.59)],
)
def test_each_bound_can_break(arm: str, figure: str, broken: float) -> None:
    figures = {name: dict(final) for name, final in GOOD.items()}
    figures[arm][figure] = broken
    assert [sentence.split()[:2] for sentence, holds in judge(figures) if not holds] == [[arm, figure]]


def test_a_missing_arm_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "0").mkdir()
    (tmp_path / "0" / "summary.json").write_text(json.dumps({"name": "ppo", "final": GOOD["ppo"]}))
    with pytest.raises(ValueError, match=r"no summary.json of \['rrl'\]; found \['ppo'\]"):
        read_finals(tmp_path)


def test_the_gate_can_be_run_as_a_script() -> None:
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
