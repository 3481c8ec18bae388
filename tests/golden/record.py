"""Rewrite the golden numbers: ``make golden``. Whoever does owes a line under *Numbers* in CHANGELOG.md."""

from __future__ import annotations

import json

from tests.golden.run import ARMS, HERE, in_a_process


def main() -> None:
    for arm in ARMS:
        first, again = in_a_process(arm), in_a_process(arm)
        if first != again:
            raise SystemExit(f"{arm}: two processes of this machine disagree; nothing is recorded")
        lines = ",\n".join("    " + json.dumps(step) for step in first.pop("steps"))
        head = json.dumps(first, indent=2).removesuffix("\n}")
        (HERE / f"{arm}.json").write_text(f'{head},\n  "steps": [\n{lines}\n  ]\n}}\n')
        print(f"tests/golden/{arm}.json")


if __name__ == "__main__":
    main()
