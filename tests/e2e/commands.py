"""The commands as a user types them: in processes of their own, or many wrong ones forked from one that has torch.

python -m tests.e2e.commands <program> <folder>     reads a JSON list of argument lists from standard input
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]
SMALL = (
    "run.token_budget=1500", "run.starts_per_step=32", "run.warm_up.batches=2", "run.warm_up.starts=32",
    "warm_start.steps=20", "warm_start.batch=64", "evaluate.every_steps=10",
)  # fmt: skip


class Answer(NamedTuple):
    """What a command said."""

    code: int
    out: str
    err: str


def environment() -> dict[str, str]:
    """The tests' environment, W&B offline, tests importable from anywhere."""
    return os.environ | {"WANDB_MODE": "offline", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "COLUMNS": "120"}


def script(program: str) -> str:
    """The installed console script."""
    return str(Path(sys.executable).parent / program)


def typed(folder: Path, program: str, *arguments: str) -> Answer:
    """``program arguments`` typed in ``folder``."""
    done = subprocess.run(
        [script(program), *arguments], cwd=folder, env=environment(), capture_output=True, text=True, timeout=240
    )
    return Answer(done.returncode, done.stdout, done.stderr)


def many(folder: Path, program: str, lines: Sequence[Sequence[str]]) -> list[Answer]:
    """Each of ``lines`` as if typed in a fresh process; they are forked from one that has imported torch."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.e2e.commands", program, str(folder)], cwd=ROOT, env=environment(),
        input=json.dumps([list(line) for line in lines]), capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [Answer(*answer) for answer in json.loads(done.stdout)]


def records(run: Path) -> list[dict[str, Any]]:
    """The lines of a run's metrics.jsonl."""
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def exit_code_of(main: Callable[[], Any]) -> int:
    """Run it, and do with its end what the interpreter does."""
    try:
        main()
    except SystemExit as stop:
        if isinstance(stop.code, str):
            sys.stderr.write(stop.code + "\n")
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException:  # noqa: BLE001
        traceback.print_exc()
        return 1
    return 0


def _fork(main: Any, arguments: list[str], out: Path, err: Path) -> int:
    child = os.fork()
    if child == 0:
        for path, number in ((out, 1), (err, 2)):
            os.dup2(os.open(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY), number)
        sys.argv = arguments
        code = exit_code_of(main)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _main(program: str, folder: Path) -> None:
    import rrl.build  # noqa: F401  (torch and most rooms, once for all)

    main = importlib.import_module(program.replace("-", ".")).main
    lines, answers = json.load(sys.stdin), []
    os.chdir(folder)
    for line in lines:
        out, err = folder / "out.txt", folder / "err.txt"
        code = _fork(main, [script(program), *line], out, err)
        answers.append(Answer(code, out.read_text(), err.read_text()))
    print(json.dumps(answers))


if __name__ == "__main__":
    _main(sys.argv[1], Path(sys.argv[2]))
