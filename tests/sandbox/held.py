"""Runs every attack and forgery against one wall and says how each ended: ``python held.py WALL [few]`` prints JSON;
``few`` leaves out most of those that run until they are stopped.

Run as a program, also by another user: it needs the standard library and the folder of this repository alone.
"""

import ctypes
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))

from rrl.sandbox.job import Script
from rrl.sandbox.pool import Sandbox, zygotes
from rrl.sandbox.seccomp import SPECIAL
from rrl.sandbox.syscalls import NUMBERS
from rrl.task.code.verdict import judge
from tests.sandbox.attacks import ATTACKS, FEW_LATE, HEAD, LATE, NOT_ON_OTHER_MACHINES, RAW
from tests.sandbox.forgeries import FORGERIES, RIGHT, SPIED, SPIES, SUITES

LIMITS = {"cpu_s": 1, "wall_s": 1.2, "memory_mb": 256, "output_kb": 256}
BEFORE = {"seccomp", "capset", "landlock_create_ruleset", "landlock_restrict_self"}
"""Named in the table of calls, for the lock uses them before its filter stands."""


def sandbox(wall, **changes):
    settings = {"workers": 4, "packages": (), "package_paths": (), "wall": wall, "unsafe": False, **LIMITS}
    return Sandbox(**settings | changes)


def report(wall, few):
    """Everything, as plain values; the sandbox is closed at the end."""
    os.environ["RRL_SECRET"] = "rrl-secret-of-the-trainer"
    subreaper = 36
    ctypes.CDLL(None).prctl(subreaper, 1, 0, 0, 0)  # a process that escapes its parent becomes a child of this one
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)
        canary = Path(folder) / "canary"
        canary.write_text("alive")
        os.chmod(canary, 0o666)
        victim = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"])
        shared = _shared_memory()
        box = sandbox(wall)
        try:
            here = {"file": canary, "folder": folder, "victim": victim.pid, "trainer": os.getpid()}
            found = {"record": box.record, "attacks": _attacks(box, here, few), "forgeries": _forgeries(box)}
            found["right"] = {name: judge(box.run, RIGHT, suite, stop_early=False, tolerance=1e-6).kind
                              for name, suite in SUITES.items()}  # fmt: skip
            found["spied"] = {name: judge(box.run, FORGERIES[name], SPIED, stop_early=False, tolerance=0.0).kind
                              for name in SPIES}  # fmt: skip
            found["harm"] = {
                "victim": victim.poll() is not None, "canary": canary.read_text() != "alive",
                "files": sorted(set(os.listdir(folder)) - {"canary"}), "shared_memory": _shared_memory() != shared,
            }  # fmt: skip
        finally:
            victim.kill()
            victim.wait()
            zygotes.cache_clear()
            box._zygotes.close()
    found["harm"]["left_over"] = _descendants()
    return found


def _attacks(box, here, few):
    programs = {**ATTACKS, **(RAW if platform.machine() == "x86_64" else {})}
    programs = {name: code for name, code in programs.items() if not few or name not in LATE - FEW_LATE}
    numbers = NUMBERS[platform.machine()]
    here["allowed"] = {n for name, n in numbers.items() if name not in BEFORE.union(SPECIAL)}
    here["allowed"] |= {numbers[name] for name in SPECIAL if name not in ("clone", "clone3", "ioctl")}
    if platform.machine() == "x86_64":
        # uretprobe, uprobe: Linux 6.14 lets them past every filter, and ends whoever calls one elsewhere than in the
        # page that it made for them.
        here["allowed"] |= {335, 336}
    here["exit"] = numbers["exit"]
    if platform.machine() != "x86_64":
        programs = {name: code for name, code in programs.items() if name not in NOT_ON_OTHER_MACHINES}
    sources = {name: HEAD + (code.format(**here) if name in ATTACKS else code) for name, code in programs.items()}
    done = box.map(lambda source: box.run(Script(source=source, stdin="41\n")), list(sources.values()))
    return {
        name: {"through": b"<through>" in d.stdout, "solved": d.status == 0 and d.stdout == b"42\n", "how": d.how,
               "status": d.status, "size": max(len(d.stdout), len(d.stderr)), "rss": d.max_rss_mb, "cpu_s": d.cpu_s,
               "stderr": d.stderr[-400:].decode("utf-8", "replace")}
        for name, d in zip(sources, done, strict=True)
    }  # fmt: skip


def _forgeries(box):
    asked = [(name, form) for name in FORGERIES for form in SUITES]
    verdicts = box.map(
        lambda pair: judge(box.run, FORGERIES[pair[0]], SUITES[pair[1]], stop_early=False, tolerance=1e-6), asked
    )
    return [[name, form, v.kind, v.passed] for (name, form), v in zip(asked, verdicts, strict=True)]


def _shared_memory():
    return [Path(f"/proc/sysvipc/{kind}").read_text() for kind in ("shm", "sem", "msg")]


def _descendants():
    """Commands of the processes below this one, once the zygotes have had time to end."""
    for _ in range(40):
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return []
        time.sleep(0.1)
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return [Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")[:80] for pid in children]


if __name__ == "__main__":
    print(json.dumps(report(sys.argv[1], few="few" in sys.argv[2:])))
