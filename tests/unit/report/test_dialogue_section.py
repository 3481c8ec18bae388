"""The dialogue table by hand."""

from pathlib import Path

from rrl.report.arms import group_arms
from rrl.report.dialogue import dialogue_section
from rrl.report.load import Run


def run(seed: int, rewards: list[float], kl: list[float]) -> Run:
    records = tuple(
        {"progress/step": float(step), "eval/reward": reward, "learn/kl_reference_nats": nats}
        for step, (reward, nats) in enumerate(zip(rewards, kl, strict=True))
    )
    summary = {"name": "ppo", "seed": seed, "status": "finished", "final": {}, "overrides": []}
    return Run(folder=Path(f"r{seed}"), summary=summary, records=records, prefixes=(), turned=(), config="", notes=())


def test_first_and_last_figures_are_shown_with_the_largest_kl() -> None:
    text = dialogue_section(group_arms([run(0, [0.0, 1.0], [0.3, 0.1]), run(1, [-1.0, 1.0], [0.1, 0.1])]))
    row = next(line for line in text.splitlines() if line.startswith("| ppo"))
    # ends 1 and 1; KL means .2 and .1 of the last five steps, largest .3 and .1
    assert row.startswith("| ppo | -0.50 \u2192 1.00 \u00b1 0.00 | - |")
    assert "| 0.15 \u00b1 " in row and "| 0.20 \u00b1 " in row


def test_other_tasks_have_no_such_table() -> None:
    other = run(0, [0.0], [0.0])
    records = tuple({k: v for k, v in r.items() if k != "eval/reward"} for r in other.records)
    bare = Run(folder=other.folder, summary=other.summary, records=records, prefixes=(), turned=(), config="", notes=())
    assert dialogue_section(group_arms([bare])) == ""
