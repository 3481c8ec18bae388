import os
import pty
import subprocess
import sys

import pytest

from rrl.records import Progress
from rrl.tracker.console import Console
from rrl.tracker.console_rows import ROWS, short


def progress(step: int) -> Progress:
    return Progress(step=step, sampled_tokens=10 * step, token_budget=1000, history=(), first=None, peak=None)


def console(plain_tables: int) -> Console:
    return Console(token_budget=1000, name="rrl", seed=0, refresh_per_s=4, plain_tables=plain_tables)


def row(start: str):
    return next(r for r in ROWS if r.label.startswith(start))


def test_there_are_at_most_eight_rows():
    assert len(ROWS) <= 8


def test_a_missing_value_is_a_dash_with_its_reason():
    assert row("score").show({"rollout/score_fresh": 0.4184}, ()) == "0.418 / - (no replay yet)"
    assert row("capability").show({}, ()) == "- (no evaluation yet)"
    assert row("score").show({}, ()) == "- (all replayed)"


def test_a_zero_is_a_value_not_a_gap():
    assert row("hard").show({"eval/hard_success": 0.0}, ()) == "0.000"


def test_counts_are_short():
    assert [short(x) for x in (950, 41_234, 1_300_000)] == ["950", "41.2k", "1.30M"]
    assert row("store").show({"replay/store_size": 1400.0, "replay/open_size": 900.0}, ()) == "1.4k (900)"


@pytest.mark.parametrize("name", ["a[/red]b", "[bold]x", "x\x1b[2J"])
def test_a_name_is_no_markup_and_no_command_to_the_terminal(name, capsys):
    tracker = Console(token_budget=1000, name=name, seed=0, refresh_per_s=4, plain_tables=1)
    tracker.log(progress(1), {"rollout/score_fresh": 0.5})
    tracker.close("interrupted")
    out = capsys.readouterr().out
    assert out.count(name.replace("\x1b", "\u241b") + ", seed 0") == 2 and "\x1b[2J" not in out


def test_outside_a_terminal_a_few_tables_are_printed_however_long_the_run(capsys):
    tracker = console(plain_tables=3)
    for step in range(1, 101):
        tracker.log(progress(step), {"rollout/score_fresh": step / 100})
    tracker.close("finished")
    out = capsys.readouterr().out
    assert out.count("score, fresh / replayed") == 3
    assert len(out.splitlines()) < 50
    titles = [line for line in out.splitlines() if line.startswith("rrl")]
    assert [t.split(":")[1].split(",")[0] for t in titles] == [" step 34", " step 67", " step 100"]


def test_zero_tables_print_nothing_but_a_bad_end(capsys):
    tracker = console(plain_tables=0)
    tracker.log(progress(1), {"rollout/score_fresh": 0.1})
    tracker.close("failed")
    assert capsys.readouterr().out == "rrl, seed 0: failed at step 1\n"


def test_evaluations_stand_until_the_next_and_other_values_do_not(capsys):
    tracker = console(plain_tables=1)
    tracker.log(progress(1), {"eval/hard_success": 0.25, "rollout/score_replayed": 0.5, "rollout/score_fresh": 0.1})
    tracker.log(progress(2), {"rollout/score_fresh": 0.2})
    tracker.close("finished")
    out = capsys.readouterr().out
    assert "0.250" in out
    assert "0.200 / - (none now)" in out
    assert "0.100 / 0.500" in out  # the column of first values


def test_a_last_evaluation_of_the_same_step_joins_that_step(capsys):
    tracker = console(plain_tables=1)
    tracker.log(progress(1), {"rollout/score_fresh": 0.125})
    tracker.log(progress(1), {"eval/hard_success": 0.75})
    tracker.close("finished")
    out = capsys.readouterr().out
    assert "0.125 / -" in out
    assert "0.750" in out


def test_numbers_out_of_range_are_refused():
    with pytest.raises(ValueError, match=r"refresh_per_s is 0"):
        Console(token_budget=1, name="x", seed=0, refresh_per_s=0, plain_tables=1)
    with pytest.raises(ValueError, match=r"plain_tables is -1"):
        console(plain_tables=-1)


_LIVE = """
import logging, sys
logging.basicConfig(stream=sys.stderr, level="INFO")
from rrl.records import Progress
from rrl.tracker.console import Console
c = Console(token_budget=100, name="rrl", seed=0, refresh_per_s=4, plain_tables=0)
here = Progress(step=1, sampled_tokens=50, token_budget=100, history=(), first=None, peak=None)
c.log(here, {"rollout/score_fresh": .5})
logging.info("a log line")
c.close("finished")
logging.info("after the end")
"""


def test_in_a_terminal_one_bar_and_one_table_stand_and_log_lines_go_above():
    ours, theirs = pty.openpty()
    env = os.environ | {"TERM": "xterm", "COLUMNS": "100"}
    subprocess.run([sys.executable, "-c", _LIVE], stdout=theirs, stderr=theirs, env=env, check=True)
    os.close(theirs)
    text = b""
    try:
        while part := os.read(ours, 65536):
            text += part
    except OSError:  # Linux says so at the end of a terminal nobody holds
        pass
    shown = text.decode()
    assert "50 / 100 tokens" in shown
    assert shown.count("a log line") == shown.count("after the end") == 1
    assert shown.index("a log line") < shown.rindex("score, fresh / replayed") < shown.index("after the end")
