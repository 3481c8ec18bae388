"""``rrl-store``: a store from saved trajectories, what it shows of one, and one clear error a bad line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet

from rrl.hosts.build import build
from rrl.hosts.task import HostCodec, PromptBook
from rrl.hosts.trajectories import read
from rrl.store_cli import main
from tests.hosts.words import saved_tokenizer, words
from tests.small import small_house

IMPORT = ["replay/cut=token", "replay/admission=first_boundary", "replay/schedule=constant", "replay.schedule.rho=1.0",
          "replay.max_replay_frac=1.0"]
LINES = [
    {"prompt": "<2> <30> <17>", "completion": "<11> <12>", "reward": 0.0, "step": 0},
    {"prompt": [2, 30, 17], "completion": [14, 15, 4], "reward": 0.0, "step": 3},
    {"prompt": "<2> <31> <17>", "completion": "<11> <12>", "reward": 1.0, "step": 3},
]


def written(path: Path, lines: list[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return path


def test_a_store_is_imported_shown_exported_counted_and_begun_with(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tokenizer, file = str(saved_tokenizer(tmp_path / "t")), written(tmp_path / "rows.jsonl", LINES)
    out = tmp_path / "seeded"
    assert main(["import", str(file), *IMPORT, "--tokenizer", tokenizer, "--out", str(out)]) == 0
    assert "3 rows of 2 prompts (1 solved): 2 states" in capsys.readouterr().err

    assert main(["stats", str(out)]) == 0
    figures = dict(line.rsplit("  ", 1) for line in capsys.readouterr().out.splitlines())
    figures = {name.strip(): value.strip() for name, value in figures.items()}
    assert figures["states"] == "2" and figures["problems seen"] == "2" and figures["tokens a state"] == "1 / 1 / 1"
    assert figures["last written at step"] == "-1"  # the finished run's last step: just before step 0

    assert main(["show", str(out), "--tokenizer", tokenizer, "--num", "1"]) == 0
    assert "'<11>'" in capsys.readouterr().out
    assert main(["export", str(out), "--tokenizer", tokenizer, "--out", str(tmp_path / "states.jsonl")]) == 0
    states = [json.loads(line) for line in (tmp_path / "states.jsonl").read_text().splitlines()]
    assert [(s["prompt"], s["prefix"], s["born_step"]) for s in states] == [
        ("<2> <30> <17>", "<11>", -4), ("<2> <30> <17>", "<14>", -1)]

    whole = tmp_path / "states.parquet"
    assert main(["export", str(out), "--tokenizer", tokenizer, "--out", str(whole)]) == 0
    assert sorted(row["key"] for row in parquet.read_table(whole).to_pylist()) == sorted(s["key"] for s in states)
    assert main(["export", str(out), "--num", "1", "--out", str(whole)]) == 1
    assert "a Parquet file takes all states" in capsys.readouterr().err

    session = build(IMPORT, tokenizer=words(), store=out)
    book = PromptBook(stop=(4,), max_response=6, known={})
    start = session.starts([book.of((2, 30, 17))], step=0, num_steps=10)[0]
    assert start.prefix in {(11,), (14,)} and start.problem.max_response == 6  # the new run's own limit
    assert not session.starts([book.of((2, 31, 17))], step=0, num_steps=10)[0].replayed


def test_prime_rl_rollouts_are_read_with_their_steps_and_exact_ids(tmp_path: Path) -> None:
    tokens = {"prompt_ids": [2, 30], "completion_ids": [11, 4]}
    rows = tmp_path / "rollouts"
    written(rows / "step_10" / "train_rollouts.jsonl",
            [{"prompt": [{"role": "user", "content": "<2>"}], "completion": [{"role": "assistant", "content": "<11>"}],
              "reward": 1, "example_id": 5}])
    written(rows / "step_9" / "train_rollouts.jsonl",
            [{"prompt": "x", "completion": "y", "reward": 0.5, "trajectory": [{"tokens": tokens}]}])
    found = list(read([tmp_path], HostCodec(words())))
    assert [(t.prompt, t.completion, t.reward, t.step) for t in found] == [
        ((2, 30), (11, 4), 0.5, 9), ((2,), (11, 4), 1.0, 10)]  # numeric order; a text is taken as ended


@pytest.mark.parametrize(("line", "message"), [
    ("{not json", "rows.jsonl:2: this is no JSON"),
    ([1], "rows.jsonl:2: a list; expected an object with prompt, completion and reward"),
    ({"prompt": "<2>", "completion": "<5>"}, "rows.jsonl:2: reward is null; expected a finite number"),
    ({"prompt": "<2>", "completion": "<5>", "reward": True}, "reward is true"),
    ('{"prompt": "<2>", "completion": "<5>", "reward": NaN}', "reward is NaN"),
    ({"prompt": 7, "completion": "<5>", "reward": 1}, "prompt is 7; expected a text, chat messages or token ids"),
    ({"prompt": "<2>", "completion": [1.5], "reward": 1}, r"completion is [1.5]; expected a text"),
    ({"prompt": "<2>", "completion": "", "reward": 1}, "completion has no token"),
    ({"prompt": "<2>", "completion": "<5>", "reward": 1, "step": -1}, "step is -1"),
    ({"prompt": "<2>", "completion": "<5>", "reward": 1, "trajectory": [{}, {}]}, "a trajectory of 2 turns"),
    ({"prompt": "<2>", "reward": 1, "trajectory": [{"tokens": {"prompt_ids": "x"}}]}, "lacks prompt_ids"),
])
def test_a_bad_line_is_one_error_with_its_place(
    line: Any, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path / "rows.jsonl", [LINES[0], line])
    tokenizer = str(saved_tokenizer(tmp_path / "t"))
    code = main(["import", str(file), "--tokenizer", tokenizer, "--out", str(tmp_path / "o")])
    said = capsys.readouterr().err
    assert code == 1 and message in said and said.count("\n") == 1
    assert not (tmp_path / "o").exists()


def test_what_is_no_store_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stats", str(tmp_path / "nowhere")]) == 1
    assert "is not a folder" in capsys.readouterr().err
    assert main(["import", str(tmp_path), "--tokenizer", str(saved_tokenizer(tmp_path / "t")), "--out", "x"]) == 1
    assert "no train_rollouts.jsonl below it" in capsys.readouterr().err


def test_the_store_of_our_own_run_is_shown_in_its_tasks_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from omegaconf import OmegaConf

    from rrl import checkpoint
    from tests.contract.stream import attempts_at, first_progress, problems_of
    from tests.small import composed

    house = small_house(tmp_path / "run", "warm_start.steps=1", "warm_start.batch=8")
    problems = problems_of(house.task)
    house.replay.observe(attempts_at(0, problems, []), first_progress())
    config = OmegaConf.to_container(composed(), resolve=True)
    checkpoint.save(tmp_path / "run" / "checkpoints" / "step_000001", {"replay": house.replay.state_dict()},
                    {"config": config})
    assert main(["show", str(tmp_path / "run"), "--num", "2"]) == 0
    shown = capsys.readouterr().out
    assert "problem train-easy-174\n    'K" in shown and "2 states of" not in shown  # keychain's own words
