"""From a run's checkpoint to lines that a person reads, and from their verdicts back into the run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from rrl import build, loop
from rrl.ranks import Ranks
from rrl.review import main
from rrl.saver import Saver, first_progress, restore
from tests.small import composed

REVIEWED = ("replay/filter=[length,review]", "replay.filter.review.undecided=quarantine", "replay/schedule=constant")


class Silent:
    def log(self, progress: Any, metrics: Any) -> None:
        return None

    def measured(self, name: str, step: int) -> float | None:
        return None

    def sync(self) -> None:
        return None


def a_run(folder: Path, *overrides: str) -> tuple[Any, Any]:
    """Config and progress of a run of a few steps that was saved in ``folder``."""
    folder.mkdir(parents=True)
    cfg = composed(f"warm_start.cache_dir={folder.parent / 'warm_start'}", "run.token_budget=700", "tracker=[]",
                   "task.num_hard=8", "task.num_easy=8", *overrides)
    house = replace(build.build(cfg, folder, Ranks()), tracker=Silent())   # type: ignore[arg-type]
    nothing = lambda progress: None   # noqa: E731
    progress = loop.train(house, loop.warm_up(house, first_progress(house.run), nothing), nothing)
    Saver(house, folder, OmegaConf.to_container(cfg, resolve=True)).save(progress)   # type: ignore[arg-type]
    return cfg, house


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Any, Any]]:
    folder = tmp_path_factory.mktemp("review") / "run"
    yield folder, *a_run(folder, *REVIEWED)


def exported(folder: Path, out: Path, *options: str) -> list[dict[str, Any]]:
    assert main(["export", str(folder), "--out", str(out), *options]) == 0
    return [json.loads(line) for line in out.read_text().splitlines()]


def test_every_stored_prefix_is_written_with_its_text_and_its_key(saved: Any, tmp_path: Path) -> None:
    folder, _, house = saved
    rows = {row["key"]: row for row in exported(folder, tmp_path / "all.jsonl")}
    stored = {row["key"]: row for row in house.replay.rows()}
    assert rows.keys() == stored.keys() and len(rows) > 20
    problems = {p.id: p for p in house.task.train_problems()}
    for key, row in rows.items():
        assert row["prefix"] == house.task.decode(stored[key]["tokens"])
        assert row["prompt"] == house.task.decode(problems[row["problem"]].prompt)
        assert (row["decision"], row["status"]) == ("", "quarantine")


def test_verdicts_come_back_into_the_run_that_goes_on_and_into_the_one_that_is_resumed(
    saved: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, cfg, house = saved
    rows = exported(folder, tmp_path / "waiting.jsonl", "--waiting")
    good, bad = [r["key"] for r in rows[:5]], [r["key"] for r in rows[5:8]]
    decided = [row | {"decision": "approved" if row["key"] in good else "rejected" if row["key"] in bad else ""}
               for row in rows]
    (tmp_path / "decided.jsonl").write_text("".join(json.dumps(row) + "\n" for row in decided))
    assert main(["import", str(folder), str(tmp_path / "decided.jsonl")]) == 0
    assert "5 approved, 3 rejected, 8 of them new" in capsys.readouterr().err

    resumed = build.build(cfg, folder, Ranks())
    progress = restore(resumed, folder / "checkpoints" / f"step_{first_step(folder):06d}")
    for one in (house, resumed):   # the very object that trains, and one that was loaded
        one.replay.rescore(one.value.success, replace(progress, step=progress.step + 5))
        status = {row["key"]: row["status"] for row in one.replay.rows()}
        assert {status[key] for key in good} <= {"open", "parked"} and {status[key] for key in bad} == {"quarantine"}
        drawn = {start.key for start in one.replay.draw(replace(progress, step=progress.step + 6), 32)}
        assert drawn and drawn <= set(good)

    again = {row["key"]: row["decision"] for row in exported(folder, tmp_path / "again.jsonl")}
    assert {key for key, said in again.items() if said == "approved"} == set(good)
    (tmp_path / "one.jsonl").write_text(json.dumps({"key": good[0], "decision": "rejected"}))
    assert main(["import", str(folder), str(tmp_path / "one.jsonl")]) == 0
    last = {r["key"]: r["decision"] for r in map(json.loads, (folder / "review.jsonl").read_text().splitlines())}
    assert len(last) == 8 and last[good[0]] == "rejected" and last[good[1]] == "approved"


def first_step(folder: Path) -> int:
    return int(next((folder / "checkpoints").iterdir()).name.removeprefix("step_"))


def test_what_is_wrong_is_one_line_on_stderr(saved: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, _, _ = saved

    def complaint(*argv: str) -> str:
        assert main(argv) == 1
        said = capsys.readouterr()
        assert said.out == "" and said.err.count("\n") == 1
        return said.err

    assert "holds no checkpoint" in complaint("export", str(tmp_path))
    assert "is no file" in complaint("import", str(folder), str(tmp_path / "nothing"))
    (tmp_path / "typo.jsonl").write_text('\n{"key": "0011223344556677", "decision": "aproved"}\n')
    assert "typo.jsonl, line 2: decision is 'aproved'" in complaint("import", str(folder), str(tmp_path / "typo.jsonl"))


def test_verdicts_that_nobody_would_read_are_refused(
    saved: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a_run(tmp_path / "run", "replay/filter=[length]")
    (tmp_path / "some.jsonl").write_text("")
    assert main(["import", str(tmp_path / "run"), str(tmp_path / "some.jsonl")]) == 1
    assert "no filter named review" in capsys.readouterr().err
