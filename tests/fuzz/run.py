"""Coverage-guided fuzzing (extra `fuzz`: atheris): python -m tests.fuzz.run <target> <seconds>, or all of them in turn.

libFuzzer ends the process at a finding and writes the bytes beside it, as crash-*.
"""

from __future__ import annotations

import importlib
import subprocess
import sys

MODULES = ("rrl.gguf_file", "rrl.hosts.trajectories", "rrl.reading", "rrl.stored", "rrl.manifest", "rrl.annotations",
           "rrl.targets", "rrl.task.grade.number", "rrl.task.grade.marks", "rrl.task.grade.arithmetic",
           "rrl.task.code.extract")  # fmt: skip


def fuzz(target: str, seconds: int) -> None:
    """Never returns."""
    import atheris

    with atheris.instrument_imports(include=list(MODULES), enable_loader_override=False):
        for name in MODULES:
            importlib.import_module(name)
    from tests.fuzz.targets import one

    atheris.Setup([sys.argv[0], f"-max_total_time={seconds}", "-max_len=2048", "-rss_limit_mb=3000", "-timeout=10",
                   "-print_final_stats=1", "-verbosity=0"], lambda data: one(target, data))  # fmt: skip
    atheris.Fuzz()


def main(arguments: list[str]) -> int:
    if len(arguments) == 2 and arguments[0] != "all":
        fuzz(arguments[0], int(arguments[1]))
    from tests.fuzz.targets import TARGETS

    seconds = arguments[-1] if arguments else "60"
    code = 0
    for target in TARGETS:
        command = [sys.executable, "-m", "tests.fuzz.run", target, seconds]
        done = subprocess.run(command, capture_output=True, text=True)
        runs = [line.split()[-1] for line in done.stderr.splitlines() if "number_of_executed_units" in line]
        found = "FINDING" if done.returncode else "ok"
        print(f"{target:16} {seconds:>4} s  {(runs or ['?'])[0]:>9} inputs  {found}")
        if done.returncode:
            print("\n".join(done.stderr.splitlines()[-40:]))
            code = 1
    return code


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
