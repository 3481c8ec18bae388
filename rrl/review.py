"""``rrl-review``: what a run remembers, as a page or as text for people to judge, and their verdicts back to it."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from rrl import debug, durable
from rrl.starts import Start, plain
from rrl.stored import config_of
from rrl.visible import json_line

_EPILOG = """\
examples:
  rrl-review outputs/2026-01-31/12-00-00        writes review.html there: open it in a browser, decide with keys, save
  (put the saved review.jsonl into the run's folder, or: rrl-review import outputs/2026-01-31/12-00-00 review.jsonl)
  rrl-review export outputs/2026-01-31/12-00-00 --waiting --out prefixes.jsonl
  (write "approved", "rejected" or "flagged" into the field "decision" of each line, and import the file)
A run with replay/filter=[length,review] reads review.jsonl at every step, and when it is resumed."""

_VERBS = ("page", "export", "import")


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Exit code 1, with one line, where the run or the file is wrong."""
    parser = argparse.ArgumentParser(
        prog="rrl-review", description="Show stored prefixes to people who decide what may be replayed: "
        "rrl-review <run> is rrl-review page <run>.",
        epilog=_EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    verbs = parser.add_subparsers(dest="verb", required=True)
    page = verbs.add_parser("page", help="one HTML file to decide in; needs no server")
    page.add_argument("run", type=Path, help="a run's folder (its newest checkpoint), a checkpoint, or a store alone")
    page.add_argument("--out", type=Path, default=None, help="file to write (default: review.html in the run's folder)")
    export = verbs.add_parser("export", help="one line a stored prefix")
    export.add_argument("run", type=Path, help="a run's folder (its newest checkpoint), or a checkpoint")
    export.add_argument("--out", type=Path, default=None, help="file to write (default: standard output)")
    export.add_argument("--waiting", action="store_true", help="only prefixes in quarantine")
    take = verbs.add_parser("import", help="verdicts: the same lines, their field decision filled in")
    take.add_argument("run", type=Path, help="as above")
    take.add_argument("file", type=Path, help="JSONL with key and decision; lines without a decision are passed over")
    debug.describe(parser)
    given = debug.taken(argv)
    arguments = parser.parse_args(["page", *given] if given and given[0] not in (*_VERBS, "-h", "--help") else given)
    try:
        if arguments.verb == "page":
            said = _page(arguments.run, arguments.out)
        elif arguments.verb == "export":
            said = _export(arguments.run, arguments.out, arguments.waiting)
        else:
            said = _import(arguments.run, arguments.file)
    except (ValueError, OSError, OmegaConfBaseException) as error:
        sys.stderr.write(debug.line("rrl-review", error) + "\n")
        return 1
    sys.stderr.write(f"rrl-review: {said}\n")
    return 0


def stored_prefixes(folder: Path) -> list[dict[str, Any]]:
    """The states of a checkpoint, oldest first: key, text, what became of them, what was decided on them, and their
    harm where the run's filters or its task have a number for it.

    Raises:
      ValueError: the checkpoint cannot be read.
    """
    from rrl import build, checkpoint
    from rrl.ranks import Ranks
    from rrl.replay.filter.review import read_decisions
    from rrl.saver import fitting

    state, meta = checkpoint.load(folder)
    config = config_of(meta, folder)
    with tempfile.TemporaryDirectory() as scratch:  # a task writes what it read, and that stands in the run already
        pool = build.build_task(config, Path(scratch), Ranks.alone())
        task = pool["task"]
        harm = _harm_scorer(config, pool)
    store = build.make(config.replay.store, "replay.store")
    with fitting(folder, "a store", "use an earlier one beside it"):
        store.load_state_dict(state["replay"]["store"])
        rows = store.rows()
        problems = [start.problem for start in store.starts(store.shelf.all_rows())]
        prompts = [task.decode(problem.prompt) for problem in problems]
        prefixes = [task.decode(plain(tuple(row["tokens"]))) for row in rows]
    decisions = _decisions_file(folder, config)
    decided = read_decisions(decisions) if decisions.is_file() else {}
    found = [
        {
            "key": row["key"], "decision": decided.get(row["key"], ""), "status": row["status"],
            "origin": row["origin"], "problem": row["problem"], "task": problem.task,
            "prompt": prompt, "prefix": prefix,
            "value": round(row["value"], 4), "tries": row["uses"], "conversions": row["wins"],
            "born_step": row["born_step"],
        }
        | ({"harm": round(harm(Start(problem=problem, prefix=tuple(row["tokens"]))), 4)} if harm else {})
        for row, problem, prompt, prefix in zip(rows, problems, prompts, prefixes, strict=True)
    ]  # fmt: skip
    return sorted(found, key=lambda row: (row["born_step"], row["problem"], row["key"]))


def _harm_scorer(config: Any, pool: dict[str, Any]) -> Callable[[Start], float] | None:
    """The number of the run's first filter of harm, or of its task; None where neither has one."""
    from rrl import build
    from rrl.protocols import JudgesBeginnings
    from rrl.replay.filter.harm import Harm

    for name, node in (config.replay.filter or {}).items():
        if node["_target_"] == f"{Harm.__module__}.{Harm.__qualname__}":
            try:
                judge: Harm = build.make(node, f"replay.filter.{name}", **pool)
            except (ValueError, OSError) as error:  # a classifier's weights may not be here: people can do without it
                sys.stderr.write(f"rrl-review: no harm scores, replay.filter.{name} cannot be built: {error}\n")
                return None
            return judge.score
    task, decode = pool["task"], pool["task"].decode
    if isinstance(task, JudgesBeginnings):
        return lambda state: float(task.harm_of([decode(plain(state.prefix))])[0])
    return None


def _page(run: Path, out: Path | None) -> str:
    from rrl import checkpoint
    from rrl.replay.filter.review import read_decisions
    from rrl.report.review_page import review_page, run_identity

    folder = checkpoint.latest(run)
    config, home = config_of(checkpoint.load(folder)[1], folder), _home(folder)
    rows = [{"uses": row["tries"], "wins": row["conversions"]} | row for row in stored_prefixes(folder)]
    heard = "review" in (OmegaConf.select(config, "replay.filter") or {})
    note = f"{len(rows):,} states of {folder.name}. " + (
        "The run reads review.jsonl in its folder at every step, and when it is resumed." if heard else
        "This run has no filter named review and reads no decisions; another one does with "
        "replay/filter=[length,review] replay.filter.review.decisions=<file>.")  # fmt: skip
    decided = _decisions_file(folder, config)
    whole = review_page(
        rows, title=f"{config['name']}, seed {config['seed']}", run=run_identity(home), note=note,
        decided=read_decisions(decided) if decided.is_file() else {},
    )  # fmt: skip
    target = out or home / "review.html"
    target.write_text(whole, encoding="utf-8")
    return f"{len(rows)} states of {folder} in {target}; open it in a browser, and put the file it saves into {home}"


def _export(run: Path, out: Path | None, waiting: bool) -> str:
    from rrl import checkpoint

    folder = checkpoint.latest(run)
    rows = stored_prefixes(folder)
    shown = [row for row in rows if row["status"] == "quarantine" or not waiting]
    text = "".join(json_line(row) for row in shown)
    if out is None:
        sys.stdout.write(text)
    else:
        out.write_text(text, encoding="utf-8")
    return f"{len(shown)} of {len(rows)} prefixes of {folder}" + (f" in {out}" if out else "")


def _import(run: Path, file: Path) -> str:
    """Merge the verdicts into the file that the run's filter reads."""
    from rrl import checkpoint
    from rrl.replay.filter.review import DECISIONS, read_decisions

    folder = checkpoint.latest(run)
    config = config_of(checkpoint.load(folder)[1], folder)
    if "review" not in (OmegaConf.select(config, "replay.filter") or {}):
        raise ValueError(f"{str(run)!r} has no filter named review, so nobody would read the verdicts; expected a run "
                         "with replay/filter=[length,review]")
    if not file.is_file():
        raise ValueError(f"{str(file)!r} is no file; expected JSONL as rrl-review export writes it")
    target = _decisions_file(folder, config)
    verdicts = read_decisions(file)
    known = read_decisions(target) if target.is_file() else {}
    merged = known | verdicts
    lines = "".join(json.dumps({"key": k, "decision": d}) + "\n" for k, d in sorted(merged.items()))
    durable.write_text(target, lines)  # whole at any time: a run may be reading it
    counts = Counter(verdicts.values())
    new = sum(known.get(key) != decision for key, decision in verdicts.items())
    each = ", ".join(f"{counts[said]} {said}" for said in DECISIONS)
    return f"{each}, {new} of them new; all are in {target}"


def _decisions_file(folder: Path, config: DictConfig) -> Path:
    from rrl.replay.filter.review import DECISIONS_FILE

    review = (OmegaConf.select(config, "replay.filter") or {}).get("review") or {}
    named = review.get("decisions", "")
    return Path(named) if named else _home(folder) / DECISIONS_FILE


def _home(folder: Path) -> Path:
    """The run that a checkpoint belongs to; a store by itself, as trackers keep one, is its own."""
    return folder.parent.parent if folder.parent.name.startswith("checkpoints") else folder


if __name__ == "__main__":
    raise SystemExit(main())
