"""Is the default training's story still true? Reads the jobs of `rrl-train -m experiment=ppo,rrl` and says.

    python tests/e2e/check_default_run.py <sweep folder>

One seed, 140k sampled tokens an arm: PPO ends able (capability) yet stuck (hard success), RRL solves.
Exits with 1 where a bound is broken, so that the gate can call it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

# (arm, figure, relation, bound): far from the usual figures, so that only a change
# of behaviour trips them, not a seed or a processor.
BOUNDS = (
    ("ppo", "eval/hard_success", "<=", 0.15),
    ("ppo", "eval/capability", ">=", 0.70),
    ("rrl", "eval/hard_success", ">=", 0.60),
)


def read_finals(sweep: Path) -> dict[str, dict[str, float]]:
    """Arm -> its final figures. Raises ValueError where an arm is missing or is there twice."""
    finals: dict[str, dict[str, float]] = {}
    for path in sorted(sweep.glob("*/summary.json")):
        summary = json.loads(path.read_text())
        if summary["name"] in finals:
            raise ValueError(f"{sweep} holds two runs named {summary['name']!r}; expected one job an arm")
        finals[summary["name"]] = summary["final"]
    if missing := {arm for arm, *_ in BOUNDS} - finals.keys():
        raise ValueError(f"{sweep} has no summary.json of {sorted(missing)}; found {sorted(finals)}")
    return finals


def judge(finals: dict[str, dict[str, float]]) -> list[tuple[str, bool]]:
    """(sentence, holds) of each bound."""
    verdicts = []
    for arm, figure, relation, bound in BOUNDS:
        measured = finals[arm][figure]
        holds = measured <= bound if relation == "<=" else measured >= bound
        verdicts.append((f"{arm:4} {figure:18} {measured:6.3f}   expected {relation} {bound:.2f}", holds))
    return verdicts


def main() -> int:
    if len(sys.argv) != 2:
        print(__doc__)
        return 2
    verdicts = judge(read_finals(Path(sys.argv[1])))
    for sentence, holds in verdicts:
        print(f"{'ok  ' if holds else 'FAIL'} {sentence}")
    return 0 if all(holds for _, holds in verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
