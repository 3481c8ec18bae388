"""``rrl-review export|import``: what a run remembers, as text for people to judge, and their verdicts back to it."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rrl.starts import plain

_EPILOG = """\
example:
  rrl-review export outputs/2026-01-31/12-00-00 --waiting --out prefixes.jsonl
  (write "approved" or "rejected" into the field "decision" of each line)
  rrl-review import outputs/2026-01-31/12-00-00 prefixes.jsonl
A run with replay/filter=[length,review] reads the verdicts when it next re-scores its store, or when it is resumed."""


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Exit code 1, with one line, where the run or the file is wrong."""
    parser = argparse.ArgumentParser(
        prog="rrl-review", description="Write stored prefixes as JSONL with their text, or read verdicts on them.",
        epilog=_EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    verbs = parser.add_subparsers(dest="verb", required=True)
    export = verbs.add_parser("export", help="one line a stored prefix")
    export.add_argument("run", type=Path, help="a run's folder (its newest checkpoint), or a checkpoint")
    export.add_argument("--out", type=Path, default=None, help="file to write (default: standard output)")
    export.add_argument("--waiting", action="store_true", help="only prefixes in quarantine")
    take = verbs.add_parser("import", help="verdicts: the same lines, their field decision filled in")
    take.add_argument("run", type=Path, help="as above")
    take.add_argument("file", type=Path, help="JSONL with key and decision; lines without a decision are passed over")
    arguments = parser.parse_args(argv)
    try:
        if arguments.verb == "export":
            said = _export(arguments.run, arguments.out, arguments.waiting)
        else:
            said = _import(arguments.run, arguments.file)
    except (ValueError, OSError) as error:
        sys.stderr.write(f"rrl-review: {' '.join(str(error).split())}\n")
        return 1
    sys.stderr.write(f"rrl-review: {said}\n")
    return 0


def stored_prefixes(folder: Path) -> list[dict[str, Any]]:
    """The states of a checkpoint, oldest first: key, text, what became of them, and what was decided on them.

    Raises:
      ValueError: the checkpoint cannot be read.
    """
    from omegaconf import OmegaConf

    from rrl import build, checkpoint
    from rrl.ranks import Ranks
    from rrl.replay.filter.review import read_decisions

    state, meta = checkpoint.load(folder)
    config = OmegaConf.create(meta["config"])
    with tempfile.TemporaryDirectory() as scratch:  # a task writes what it read, and that stands in the run already
        pool: dict[str, Any] = {"seed": config.seed, "ranks": Ranks(), "output_dir": Path(scratch)}
        pool["codec"] = build.make(config.codec, "codec", **pool)
        task = build.make(config.task, "task", **pool)
    store = build.make(config.replay.store, "replay.store")
    store.load_state_dict(state["replay"]["store"])
    decisions = _decisions_file(folder, meta["config"])
    decided = read_decisions(decisions) if decisions.is_file() else {}
    rows = store.rows()
    problems = [start.problem for start in store.starts(store.shelf.all_rows())]
    found = [
        {
            "key": row["key"], "decision": decided.get(row["key"], ""), "status": row["status"],
            "origin": row["origin"], "problem": row["problem"], "prompt": task.decode(problem.prompt),
            "prefix": task.decode(plain(tuple(row["tokens"]))), "value": round(row["value"], 4), "tries": row["uses"],
            "conversions": row["wins"], "born_step": row["born_step"],
        }
        for row, problem in zip(rows, problems, strict=True)
    ]  # fmt: skip
    return sorted(found, key=lambda row: (row["born_step"], row["problem"], row["key"]))


def _export(run: Path, out: Path | None, waiting: bool) -> str:
    from rrl import checkpoint

    folder = checkpoint.latest(run)
    rows = stored_prefixes(folder)
    shown = [row for row in rows if row["status"] == "quarantine" or not waiting]
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in shown)
    if out is None:
        sys.stdout.write(text)
    else:
        out.write_text(text)
    return f"{len(shown)} of {len(rows)} prefixes of {folder}" + (f" in {out}" if out else "")


def _import(run: Path, file: Path) -> str:
    """Merge the verdicts into the file that the run's filter reads."""
    from rrl import checkpoint
    from rrl.replay.filter.review import read_decisions

    folder = checkpoint.latest(run)
    config = checkpoint.load(folder)[1]["config"]
    if "review" not in (config["replay"]["filter"] or {}):
        raise ValueError(f"{str(run)!r} has no filter named review, so nobody would read the verdicts; expected a run "
                         "with replay/filter=[length,review]")
    if not file.is_file():
        raise ValueError(f"{str(file)!r} is no file; expected JSONL as rrl-review export writes it")
    target = _decisions_file(folder, config)
    verdicts = read_decisions(file, undecided=True)
    known = read_decisions(target) if target.is_file() else {}
    merged = known | verdicts
    beside = target.with_name(target.name + ".tmp")
    beside.write_text("".join(json.dumps({"key": k, "decision": d}) + "\n" for k, d in sorted(merged.items())))
    os.replace(beside, target)  # a run may read it at any time
    counts = Counter(verdicts.values())
    new = sum(known.get(key) != decision for key, decision in verdicts.items())
    return f"{counts['approved']} approved, {counts['rejected']} rejected, {new} of them new; all are in {target}"


def _decisions_file(folder: Path, config: dict[str, Any]) -> Path:
    from rrl.replay.filter.review import DECISIONS_FILE

    review = (config["replay"]["filter"] or {}).get("review") or {}
    named = review.get("decisions", "")
    return Path(named) if named else folder.parent.parent / DECISIONS_FILE


if __name__ == "__main__":
    raise SystemExit(main())
