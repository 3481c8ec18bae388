"""One process of a TRL run, started by tests: ``python -m tests.hosts.process FOLDER [key=value ...]``.

Keys: steps, save (steps between checkpoints), rows (a process), seed (of replay), die (step at whose reward it kills
itself), resume. Writes ``rank<r>.json``: each batch's plans, and the digest of what replay was told.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

from tests.hosts.tiny_trl import REPLAY, Script


def main() -> None:
    folder, given = Path(sys.argv[1]), dict(pair.split("=") for pair in sys.argv[2:])
    number = {name: int(given.get(name, default)) for name, default in
              {"steps": 6, "save": 0, "rows": 16, "seed": 0, "die": 0, "resume": 0}.items()}  # fmt: skip
    rank = int(os.environ.get("RANK", "0"))
    seed = number["seed"] if rank else 0  # another seed on rank 1 alone
    script = Script(
        folder, replay=[*REPLAY, f"seed={seed}"], max_steps=number["steps"], shuffle_dataset=False,
        per_device_train_batch_size=number["rows"], save_strategy="steps" if number["save"] else "no",
        save_steps=number["save"] or 500,
    )  # fmt: skip
    if number["die"]:
        inner = script.hooks.session.observe

        def observe(rows: list[object], **where: int) -> object:
            if where["step"] == number["die"]:
                os.kill(os.getpid(), signal.SIGKILL)
            return inner(rows, **where)

        script.hooks.session.observe = observe
    script.trainer.train(resume_from_checkpoint=bool(number["resume"]) or None)
    batches = [[(plan.start.key, plan.origin) for plan in batch.plans or []] for batch in script.batches]
    (folder / f"rank{rank}.json").write_text(json.dumps({"batches": batches, "told": script.hooks.session.told}))


if __name__ == "__main__":
    main()
