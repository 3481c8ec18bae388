"""No attack does harm and no forgery passes: as root and as another user, behind every wall that this machine has."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.sandbox.attacks import ATTACKS, FEW_LATE, KILLED, LATE, RAW
from tests.sandbox.forgeries import FORGERIES, SPIES, SUITES
from tests.sandbox.held import LIMITS

ROOT = Path(__file__).parents[2]
NEEDED = ("rrl/__init__.py", "rrl/sandbox", "rrl/task/__init__.py", "rrl/task/code", "tests/sandbox")
SOMEBODY = 61234  # no user of any machine
NOBODY = 65534
PYTHONS = [sys.executable, *(f"/usr/bin/python3.{minor}" for minor in range(11, 14))]


@pytest.fixture(scope="module")
def folder():
    """A copy of what the report needs, laid out as an installed package, that every user can read."""
    with tempfile.TemporaryDirectory() as made:
        os.chmod(made, 0o755)
        for name in NEEDED:
            source, copy = ROOT / name, Path(made) / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, copy)
        for path in Path(made).rglob("*"):
            path.chmod(0o755 if path.is_dir() else 0o644)
        yield Path(made)


def python_of(user):
    """An interpreter that ``user`` can start (one in root's home is root's alone)."""
    change = {} if user == os.getuid() else {"user": user, "group": user, "extra_groups": ()}
    for python in PYTHONS:
        try:
            if subprocess.run([python, "-S", "-c", ""], cwd="/", env={}, **change, capture_output=True).returncode == 0:
                return python, change
        except OSError:
            continue
    pytest.skip(f"uid {user} can start none of {', '.join(PYTHONS)}")


def report_of(folder, who, wall, few):
    user = {"root": 0, "a user": SOMEBODY if os.getuid() == 0 else os.getuid()}[who]
    if user != os.getuid() and os.getuid() != 0:
        pytest.skip("only root can be root")
    if wall == "bwrap" and shutil.which("bwrap") is None:
        pytest.skip("bubblewrap is not installed")
    python, change = python_of(user)
    if wall == "bwrap" and user == 0:
        python, _ = python_of(NOBODY)  # whom bubblewrap is started as
    command = [python, "-S", str(folder / "tests/sandbox/held.py"), wall, *(["few"] if few else [])]
    done = subprocess.run(command, cwd="/", env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, **change)
    if wall == "bwrap" and "bwrap: does not start" in done.stderr:
        pytest.skip(f"bubblewrap starts nothing here: {done.stderr.splitlines()[-1][:300]}")
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def expect_held(report, wall, few):
    assert (report["record"]["wall"], report["record"]["unsafe"]) == (wall, False)
    attacks = report["attacks"]
    run = set(ATTACKS) - (LATE - FEW_LATE if few else set())
    assert run <= set(attacks) <= run | set(RAW) or os.uname().machine != "x86_64"
    assert {name: a for name, a in attacks.items() if a["through"] or a["solved"]} == {}
    ends = {name: a["how"] for name, a in attacks.items()}
    assert {name: how for name, how in ends.items() if name in LATE and how != "late"} == {}
    assert {name: how for name, how in ends.items() if name in KILLED and how != "killed"} == {}
    largest = {
        n: a for n, a in attacks.items() if a["size"] > LIMITS["output_kb"] << 10 or a["rss"] > LIMITS["memory_mb"]
    }
    assert largest == {}
    assert max(a["cpu_s"] for a in attacks.values()) < LIMITS["cpu_s"] + 1.5

    forged = {(name, form): [kind, passed] for name, form, kind, passed in report["forgeries"]}
    assert set(forged) == {(name, form) for name in FORGERIES for form in SUITES}
    assert {key: told for key, told in forged.items() if told[0] == "solved" or told[1]} == {}
    assert report["right"] == dict.fromkeys(SUITES, "solved")  # these tests can be passed
    assert report["spied"] == dict.fromkeys(SPIES, "solved")  # they find what is there
    assert report["harm"] == {"victim": False, "canary": False, "files": [], "shared_memory": False, "left_over": []}


@pytest.mark.parametrize(("who", "wall", "few"), [
    ("a user", "sealed", False), ("root", "sealed", True), ("a user", "bwrap", True),
])  # fmt: skip
def test_every_attack_ends_at_the_wall_and_no_forged_verdict_passes(folder, who, wall, few):
    expect_held(report_of(folder, who, wall, few), wall, few)


@pytest.mark.slow
@pytest.mark.parametrize(("who", "wall"), [("root", "sealed"), ("root", "bwrap"), ("a user", "bwrap")])
def test_so_do_those_that_run_until_they_are_stopped(folder, who, wall):
    expect_held(report_of(folder, who, wall, few=False), wall, few=False)
