"""Which wall is chosen, how a machine without one is refused, and what becomes of zygotes."""

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from rrl.sandbox.job import Calls, Script
from rrl.sandbox.link import Link, ZygoteLost
from rrl.sandbox.lock import Limits
from rrl.sandbox.pool import Sandbox
from rrl.sandbox.probe import breaches
from rrl.sandbox.walls import SandboxUnavailable, command, possible
from tests.sandbox.test_idioms import SETTINGS

ROOT = Path(__file__).parents[2]
LIMITS = Limits(cpu_s=2, wall_s=10.0, memory_mb=256, output_kb=64, tasks=64)
ECHO = Script(source="print(int(input()) + 1)", stdin="41\n")


def sandbox(**changes):
    return Sandbox(**SETTINGS | changes)


def say(sandbox):
    return sandbox.run(ECHO).stdout


@pytest.fixture
def link():
    link = Link(command("sealed", (), ()), as_nobody=False)
    yield link
    link.close()


# ------------------------------------------------------------------------------------------ walls


def test_the_probe_finds_what_limits_alone_let_through():
    open_link = Link(command("unsafe", (), ()), as_nobody=False)
    try:
        found = breaches(open_link.run)
    finally:
        open_link.close()
    assert {"reads a file", "lists a folder", "writes a file", "opens a unix socket", "forks", "forks by a raw call",
            "signals its zygote", "starts a program"} <= set(found)  # fmt: skip


def test_the_probe_finds_nothing_behind_a_seal(link):
    assert breaches(link.run) == []


def under(calls, program):
    """``program`` on a kernel without ``calls``."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests/sandbox/under.py"), calls, "--", sys.executable, "-c", program],
        env=os.environ | {"PYTHONPATH": str(ROOT), "PATH": "/nowhere"}, capture_output=True, text=True,
    )  # fmt: skip
    return done.stdout + done.stderr[-2000:]


START = textwrap.dedent(f"""
    from rrl.sandbox.pool import Sandbox
    from rrl.sandbox.walls import SandboxUnavailable
    try:
        print(Sandbox(**{SETTINGS | {"workers": 1}}).record)
    except SandboxUnavailable as error:
        print("refused:", error)
""")


def test_a_machine_without_seccomp_is_refused_by_name_with_the_ways_out():
    told = under("seccomp", START)
    assert told.startswith("refused: programs of a model cannot be run safely here: sealed: does not start (OSError: ")
    for part in ("no seccomp", "bubblewrap", "another machine", "task.grader.sandbox.unsafe=true"):
        assert part in told


def test_a_machine_without_landlock_has_the_filter_alone():
    assert "'wall': 'sealed', 'landlock_abi': 0" in under("landlock_create_ruleset", START)


def test_a_filter_that_does_not_hold_is_no_wall(monkeypatch):
    import rrl.sandbox.pool as pool

    monkeypatch.setattr(pool, "command", lambda _, *rest: command("unsafe", *rest))  # a lock that locks nothing
    with pytest.raises(SandboxUnavailable, match="sealed: a program reads a file, .*unsafe=true"):
        sandbox(wall="sealed", workers=1, cpu_s=3)


def test_a_wall_asked_for_by_name_is_that_one_or_none(monkeypatch):
    assert possible("sealed", False) == ["sealed"] and possible("bwrap", False) == ["bwrap"]
    monkeypatch.setattr(shutil, "which", lambda _: "/usr/bin/bwrap")
    assert possible("auto", False) == ["bwrap", "sealed"] and possible("auto", True) == ["unsafe"]
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert possible("auto", False) == ["sealed"]
    monkeypatch.setattr(shutil, "which", lambda _: "/nowhere/bwrap")
    with pytest.raises(SandboxUnavailable, match=r"bwrap: does not start \(.*No such file"):
        sandbox(wall="bwrap")


@pytest.mark.parametrize(("platform", "machine"), [("darwin", "arm64"), ("linux", "riscv64")])
def test_other_machines_are_refused_also_without_a_wall(monkeypatch, platform, machine):
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr("platform.machine", lambda: machine)
    for unsafe in (False, True):
        with pytest.raises(SandboxUnavailable, match=f"this is {platform} on {machine}; .*Linux on x86_64 or aarch64"):
            possible("auto", unsafe)


def test_unsafe_warns_each_time_and_is_in_the_record(caplog):
    for _ in range(2):
        box = sandbox(unsafe=True)
    assert [r.levelno for r in caplog.records if "NO wall" in r.message] == [logging.WARNING] * 2
    assert (box.record["wall"], box.record["unsafe"]) == ("unsafe", True)
    assert box.run(Script(source="print(len(open('/etc/passwd').read()) > 0)", stdin="")).stdout == b"True\n"


def test_numbers_out_of_range_are_named():
    for key, value in {"workers": -1, "cpu_s": 0, "wall_s": 3.0, "memory_mb": 32, "output_kb": 0}.items():
        with pytest.raises(ValueError, match=rf"task\.grader\.sandbox\.{key} is {value}; expected >= "):
            sandbox(**{key: value})


# ------------------------------------------------------------------------------------------ jobs


def test_results_come_in_order_from_many_threads():
    box = sandbox()
    jobs = [
        Script(source="import time\nn = int(input())\ntime.sleep(n % 3 / 100)\nprint(n)", stdin=str(i))
        for i in range(24)
    ]
    assert [d.stdout for d in box.map(box.run, jobs)] == [f"{i}\n".encode() for i in range(24)]


def test_equal_sandboxes_share_their_zygotes_and_other_limits_do_not_part_them():
    assert sandbox()._zygotes is sandbox(cpu_s=2, memory_mb=256)._zygotes is not sandbox(workers=1)._zygotes


def test_limits_are_those_of_the_sandbox():
    box = sandbox(cpu_s=1, wall_s=1.0, memory_mb=64, output_kb=1)
    assert box.run(Script(source="while True: pass", stdin="")).how == "late"
    assert b"MemoryError" in box.run(Script(source="x = bytearray(1 << 26)", stdin="")).stderr
    assert len(box.run(Script(source="print('x' * 5000)", stdin="")).stdout) == 1024
    assert box.run(Calls(source="def f(): return 'x' * 5000", setup="", calls=(("f", ()),))).replies == ()


def test_packages_can_be_imported_where_they_are_asked_for():
    numpy = pytest.importorskip("numpy")
    folder = str(Path(numpy.__file__).parents[1])
    try:
        box = sandbox(packages=("numpy",), package_paths=(folder,), workers=1)
    except SandboxUnavailable as error:  # not for nobody, into whom root's programs are turned
        pytest.skip(str(error))
    source = "import numpy as np\ndef f(v): return np.linalg.solve(np.eye(2), np.array(v)).tolist() + [np.int64(3)]"
    done = box.run(Calls(source=source, setup="", calls=(("f", ([1.0, 2.0],)),)))
    assert done.replies == ({"v": [{"f": "0x1.0000000000000p+0"}, {"f": "0x1.0000000000000p+1"}, 3]},)
    with pytest.raises(SandboxUnavailable, match="No module named 'no_such_package'"):
        sandbox(packages=("no_such_package",), workers=1)


# ------------------------------------------------------------------------------------------ zygotes


def test_a_lost_zygote_is_replaced_and_the_program_run_again():
    box = sandbox(workers=1, wall="sealed")
    assert say(box) == b"42\n"
    [link] = box._zygotes._idle.queue
    link._process.kill()
    link._process.wait()
    assert say(box) == b"42\n"


def test_a_zygote_that_dies_in_the_middle_of_a_job_is_said_to_be_lost(link):
    threading.Timer(0.3, link._process.kill).start()
    with pytest.raises(ZygoteLost):
        link.run(Script(source="import time; time.sleep(5)", stdin=""), LIMITS)


def test_a_forked_process_has_zygotes_of_its_own():
    box = sandbox(workers=1, wall="sealed")
    say(box)
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(write, say(box))
        finally:
            os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0 and os.read(read, 10) == b"42\n"
    assert say(box) == b"42\n"
    os.close(read), os.close(write)


def test_nothing_is_left_of_a_trainer_that_was_killed():
    program = textwrap.dedent(f"""
        import threading, time
        from rrl.sandbox.job import Script
        from rrl.sandbox.pool import Sandbox
        box = Sandbox(**{SETTINGS | {"workers": 1, "wall_s": 60.0, "cpu_s": 60}})
        job = Script(source="import time\\nwhile True: time.sleep(0.1)", stdin="")
        threading.Thread(target=box.run, args=(job,)).start()
        time.sleep(0.5)
        print("running", flush=True)
    """)
    trainer = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=ROOT, start_new_session=True
    )
    assert trainer.stdout is not None and trainer.stdout.readline() == b"running\n"
    family = _family(trainer.pid)
    assert len(family) >= 3  # itself, a zygote, a program
    trainer.send_signal(signal.SIGKILL)
    trainer.wait()
    for _ in range(100):
        left = [pid for pid in family if _lives(pid)]
        if not left:
            return
        time.sleep(0.1)
    pytest.fail(f"{left} outlived their trainer")


def test_it_runs_from_a_folder_that_is_no_checkout(tmp_path):
    """As in site-packages: the package alone, beside modules that have the names of the standard library's."""
    shutil.copytree(ROOT / "rrl" / "sandbox", tmp_path / "rrl" / "sandbox")
    (tmp_path / "rrl" / "__init__.py").touch()
    for name in ("typing", "json", "dataclasses", "select"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('not the one')")
    program = (
        f"import sys; sys.path.append({str(tmp_path)!r}); from rrl.sandbox.pool import Sandbox; import rrl, json\n"
    )
    program += "from rrl.sandbox.job import Script\n"
    program += f"box = Sandbox(**{SETTINGS | {'workers': 1}}); d = box.run(Script(source='print(42)', stdin=''))\n"
    program += "print(json.dumps([rrl.__file__, d.stdout.decode()]))"
    done = subprocess.run([sys.executable, "-P", "-S", "-c", program], capture_output=True, text=True, cwd="/")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [str(tmp_path / "rrl" / "__init__.py"), "42\n"]


def _family(pid):
    children = Path(f"/proc/{pid}/task").glob("*/children")
    return [pid, *(p for file in children for child in file.read_text().split() for p in _family(int(child)))]


def _lives(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
