"""The worker's verdict functions used here are reckless on purpose."""

import os
import threading
import time

import pytest

from rrl.deadline import TimeLimit, within
from rrl.task.grade.judge import Judge


@pytest.fixture
def reckless(tmp_path, monkeypatch):
    (tmp_path / "reckless.py").write_text(
        "import os, time, subprocess\n"
        "def half(): return 0.5\n"
        "def total(*xs): return sum(xs)\n"
        "def sleeps(): time.sleep(60)\n"
        "def naps(): time.sleep(0.5); return 7.0\n"
        "def towers(): return 9 ** 9 ** 9 % 7\n"  # inside C code: no Python signal handler runs
        "def swallows():\n"
        "    while True:\n"
        "        try: time.sleep(60)\n"
        "        except BaseException: pass\n"
        "def eats(): return len(bytearray(8 << 30))\n"
        "def dies(): os._exit(0)\n"
        "def raises(): raise KeyError('x')\n"
        "def prints(): print('{\"score\": 1.0}'); return 0.0\n"
        "def shell(path): return os.system(f'touch {path}')\n"
        "def runs(path): return subprocess.run(['touch', path]).returncode\n"
        "def writes(path): open(path, 'w'); return 1.0\n"
        "def removes(path): os.remove(path); return 1.0\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    judge = Judge(module="reckless", memory_mb=1024)
    yield judge
    judge.close()


def test_a_verdict_comes_back_as_a_number(reckless):
    assert reckless.ask("half", timeout_s=5.0) == 0.5 and reckless.ask("total", 1, 2.5, timeout_s=5.0) == 3.5
    assert reckless.unjudged == 0


@pytest.mark.parametrize("name", ["sleeps", "towers", "swallows"])
def test_what_never_ends_is_ended_at_the_deadline(reckless, name):
    reckless.ask("half", timeout_s=5.0)
    began = time.perf_counter()
    assert reckless.ask(name, timeout_s=0.3) is None
    assert time.perf_counter() - began < 5.0 and reckless.unjudged == 1
    assert reckless.ask("half", timeout_s=5.0) == 0.5


def test_a_question_that_is_cut_short_does_not_answer_the_next_one(reckless):
    reckless.ask("half", timeout_s=5.0)
    with pytest.raises(TimeLimit), within(0.1):
        reckless.ask("naps", timeout_s=5.0)
    assert reckless.ask("half", timeout_s=5.0) == 0.5
    assert reckless.ask("naps", timeout_s=5.0) == 7.0


@pytest.mark.parametrize("name", ["eats", "dies", "raises"])
def test_a_verifier_that_fails_gives_no_verdict_and_the_next_one_does(reckless, name):
    assert reckless.ask(name, timeout_s=5.0) is None and reckless.unjudged == 1
    assert reckless.ask("half", timeout_s=5.0) == 0.5


def test_what_a_verifier_prints_is_no_verdict(reckless):
    assert reckless.ask("prints", timeout_s=5.0) == 0.0


@pytest.mark.parametrize("name", ["shell", "runs", "writes", "removes"])
def test_a_verifier_cannot_start_programs_or_change_files(reckless, tmp_path, name):
    path = tmp_path / "here"
    if name == "removes":
        path.write_text("")
    assert reckless.ask(name, str(path), timeout_s=5.0) is None
    assert path.exists() == (name == "removes")


def test_threads_may_ask_at_once(reckless):
    found = []

    def ask(i):
        found.append(reckless.ask("total", i, timeout_s=5.0))

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [float(i) for i in range(8)]


def test_a_forked_process_asks_a_worker_of_its_own(reckless):
    assert reckless.ask("half", timeout_s=5.0) == 0.5
    child = os.fork()
    if child == 0:
        os._exit(0 if reckless.ask("total", 2, timeout_s=5.0) == 2.0 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert reckless.ask("half", timeout_s=5.0) == 0.5


def test_a_module_that_cannot_be_imported_is_an_error_and_no_verdict():
    with pytest.raises(RuntimeError, match="ModuleNotFoundError: No module named 'not_there'"):
        Judge(module="not_there", memory_mb=1024).ask("half", timeout_s=5.0)
