"""``rrl-store import|show|export|stats``: a store from somebody's saved trajectories, and what a store holds."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf.errors import OmegaConfBaseException

from rrl import debug
from rrl.starts import plain
from rrl.visible import json_line, shown

_EPILOG = """\
examples:
  rrl-store import rollouts.jsonl --tokenizer my/model --out seeded host.solved_at=1.0
  rrl-store stats seeded
  rrl-store show outputs/my_grpo/checkpoint-100 --tokenizer my/model --num 5
  rrl-store export outputs/2026-01-31/12-00-00 --out states.jsonl
  rrl-store export outputs/2026-01-31/12-00-00 --out states.parquet      (columns: rrl/replay/export.py)
A saved store: what import wrote, a checkpoint of a host with our folder in it, or a run of rrl-train.
Begin a host's run with it: rrl.hosts.build.build([...], tokenizer=..., store="seeded")."""


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Exit code 1, with one line, where a file, a store or a key is wrong."""
    parser = argparse.ArgumentParser(prog="rrl-store", description=__doc__, epilog=_EPILOG,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    take = verbs.add_parser("import", help="a store from JSONL, or from prime-rl's rollouts")
    take.add_argument("files", type=Path, nargs="+", help="JSONL files, or folders of prime-rl runs; then key=value")
    take.add_argument("--tokenizer", required=True, help="name on the hub or folder: the model's that will be trained")
    take.add_argument("--out", type=Path, required=True, help="folder to write")
    verbs_of_stores = {
        "show": "states as text", "export": "states as JSONL, or as Parquet", "stats": "how much is stored",
    }
    for name, about in verbs_of_stores.items():
        verb = verbs.add_parser(name, help=about)
        verb.add_argument("store", type=Path, help="a saved store, see below")
        if name != "stats":
            verb.add_argument("--tokenizer", default="", help="name or folder; without it a host's states are ids")
            verb.add_argument("--num", type=int, default=20 if name == "show" else 0, help="states at most; 0 = all")
        if name == "export":
            verb.add_argument("--out", type=Path, default=None,
                              help="file to write; Parquet where it ends in .parquet (default: standard output)")
    debug.describe(parser)
    for verb in verbs.choices.values():
        verb.add_argument("--trust-remote-code", action="store_true", help="run Python files that a tokenizer brings")
    arguments = parser.parse_args(debug.taken(argv))
    try:
        said = _VERBS[arguments.verb](arguments)
    except (ValueError, OSError, OmegaConfBaseException) as error:
        sys.stderr.write(debug.line("rrl-store", error) + "\n")
        return 1
    sys.stderr.write(f"rrl-store: {said}\n")
    return 0


def _import(arguments: argparse.Namespace) -> str:
    from rrl.hosts.seeding import seeded

    overrides = [str(f) for f in arguments.files if "=" in str(f) and not f.exists()]
    files = [f for f in arguments.files if str(f) not in overrides]
    session, counts = seeded(files, tokenizer=_tokenizer(arguments), overrides=overrides)
    session.save(arguments.out)
    return (f"{counts['rows']} rows of {counts['problems']} prompts ({counts['solved']} solved): {counts['states']} "
            f"states in {arguments.out}")


def _show(arguments: argparse.Namespace) -> str:
    rows = _described(arguments)
    for row in rows:
        sys.stdout.write(
            f"{row['key']}  {row['status']:10} value {row['value']:.2f}  tries {row['uses']:3}  solved "
            f"{row['wins']:3}  step {row['born_step']:5}  problem {shown(row['problem'])}\n    {row['prefix']!r}\n"
        )
    return f"{len(rows)} states of {arguments.store}"


def _export(arguments: argparse.Namespace) -> str:
    if arguments.out is not None and arguments.out.suffix == ".parquet":
        return _export_parquet(arguments)
    rows = _described(arguments)
    text = "".join(json_line(row) for row in rows)
    if arguments.out is None:
        sys.stdout.write(text)
    else:
        arguments.out.write_text(text, encoding="utf-8")
    return f"{len(rows)} states of {arguments.store}" + (f" in {arguments.out}" if arguments.out else "")


def _export_parquet(arguments: argparse.Namespace) -> str:
    from rrl.replay.export import write_parquet

    if arguments.num:
        raise ValueError(f"--num is {arguments.num}; a Parquet file takes all states: leave it out, or write .jsonl")
    store, decode = _opened(arguments)
    return f"{write_parquet(store, arguments.out, decode)} states of {arguments.store} in {arguments.out}"


def _stats(arguments: argparse.Namespace) -> str:
    store, _ = _opened(arguments)
    rows, table = store.rows(), store.problems
    depths = sorted(len(row["tokens"]) for row in rows)
    figures: dict[str, Any] = {
        "states": len(rows),
        **{f"  {status}": num for status, num in sorted(Counter(row["status"] for row in rows).items())},
        **{f"  from {origin}": num for origin, num in sorted(Counter(row["origin"] for row in rows).items())},
        "tokens": sum(depths),
        "tokens a state": " / ".join(str(depths[i]) for i in (0, len(depths) // 2, -1)) if rows else "-",
        "states tried": sum(row["uses"] > 0 for row in rows),
        "states that converted": sum(row["wins"] > 0 for row in rows),
        "problems seen": len(table),
        "problems with states": len({row["problem"] for row in rows}),
        "problems with a converted answer": len(table.converted),
        "problems parked": int(table.columns["parked"][: len(table)].sum()),
        "last written at step": store.step,
    }
    width = max(map(len, figures))
    sys.stdout.write("".join(f"{name:{width}}  {figure}\n" for name, figure in figures.items()))
    return f"{len(rows)} states of {arguments.store}"


def _described(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Rows of the store with their text, those of few failures first in the order of the store."""
    store, decode = _opened(arguments)
    rows = store.rows()[: arguments.num or None]
    problems = [start.problem for start in store.starts(store.shelf.all_rows()[: len(rows)])]
    return [row | {"prompt": decode(problem.prompt), "prefix": decode(plain(tuple(row["tokens"])))}
            for row, problem in zip(rows, problems, strict=True)]  # fmt: skip


def _tokenizer(arguments: argparse.Namespace) -> Any:
    from rrl.codec.tokenizer import load_tokenizer

    trusted = arguments.trust_remote_code
    return load_tokenizer(arguments.tokenizer, "main", None, trust_remote_code=trusted, key="--tokenizer")


def _opened(arguments: argparse.Namespace) -> tuple[Any, Any]:
    """(store, decode) of a saved store; decode writes token ids where nobody can spell them."""
    from rrl import build, checkpoint
    from rrl.codec.tokenizer import TokenizerCodec
    from rrl.saver import fitting
    from rrl.stored import config_of

    folder: Path = arguments.store
    if not folder.is_dir():
        raise ValueError(f"{str(folder)!r} is not a folder; expected what rrl-store import wrote, a host's checkpoint, "
                         "or a run of rrl-train")
    folder = checkpoint.latest(folder / "rrl" if (folder / "rrl").is_dir() else folder)
    state, meta = checkpoint.load(folder)
    decode: Any = lambda tokens: " ".join(map(str, tokens))  # noqa: E731 - a default for three lines
    if getattr(arguments, "tokenizer", ""):
        decode = TokenizerCodec(_tokenizer(arguments)).decode
    elif "config" in meta:
        decode = _task_of(config_of(meta, folder)).decode
    node = config_of(meta, folder).replay.store if "config" in meta else _store_node(meta.get("settings", {}))
    store = build.make(node, "replay.store")
    with fitting(folder, "a store", "use an earlier one beside it"):
        store.load_state_dict(state["replay"]["store"])
        store.starts(store.shelf.all_rows())
    return store, decode


def _store_node(settings: dict[str, Any]) -> dict[str, Any]:
    """The store's options out of a host's settings; today's defaults where it was built by hand."""
    from rrl.hosts.build import compose, flat

    from omegaconf import OmegaConf  # isort: skip

    if not settings:
        settings = flat(OmegaConf.to_container(compose([]), resolve=True))
    start = "replay.store."
    return {name.removeprefix(start): value for name, value in settings.items() if name.startswith(start)}


def _task_of(node: Any) -> Any:
    import tempfile

    from rrl import build
    from rrl.ranks import Ranks

    with tempfile.TemporaryDirectory() as scratch:  # a task writes what it read, and that stands in the run already
        return build.build_task(node, Path(scratch), Ranks.alone())["task"]


_VERBS = {"import": _import, "show": _show, "export": _export, "stats": _stats}


if __name__ == "__main__":
    raise SystemExit(main())
