"""From a run's checkpoint to lines that a person reads, and from their verdicts back into the run."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from rrl import build, checkpoint, loop
from rrl.ranks import Ranks
from rrl.review import main
from rrl.saver import Saver, first_progress, restore
from tests.small import composed

REVIEWED = ("replay/filter=[length,review]", "replay.filter.review.undecided=quarantine", "replay/schedule=constant")


class Silent:
    def log(self, progress: Any, metrics: Any) -> None:
        return None

    def rollouts(self, progress: Any, attempts: Any) -> None:
        return None

    def wants(self, kind: str) -> bool:
        return False

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
    assert "5 approved, 0 flagged, 3 rejected, 8 of them new" in capsys.readouterr().err

    resumed = build.build(cfg, folder, Ranks())
    progress = restore(resumed, folder / "checkpoints" / f"step_{first_step(folder):06d}")
    house.replay.observe([], progress)   # the very object that trains hears them with its next step
    for one in (house, resumed):
        status = {row["key"]: row["status"] for row in one.replay.rows()}
        assert {status[key] for key in good} <= {"open", "parked"} and {status[key] for key in bad} == {"quarantine"}
        one.replay.rescore(one.value.success, replace(progress, step=progress.step + 5))
        drawn = {start.key for start in one.replay.draw(replace(progress, step=progress.step + 6), 32)}
        assert drawn and drawn <= set(good)

    again = {row["key"]: row["decision"] for row in exported(folder, tmp_path / "again.jsonl")}
    assert {key for key, said in again.items() if said == "approved"} == set(good)
    (tmp_path / "one.jsonl").write_text(json.dumps({"key": good[0], "decision": "flagged"}))
    assert main(["import", str(folder), str(tmp_path / "one.jsonl")]) == 0
    last = {r["key"]: r["decision"] for r in map(json.loads, (folder / "review.jsonl").read_text().splitlines())}
    assert len(last) == 8 and last[good[0]] == "flagged" and last[good[1]] == "approved"


class Draws:
    """The run's own replay, and what it gave back at every step."""

    def __init__(self, inner: Any) -> None:
        self._inner, self.drawn = inner, dict[int, set[str]]()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def draw(self, progress: Any, num_starts: int) -> Any:
        starts = self._inner.draw(progress, num_starts)
        self.drawn[progress.step] = {start.key for start in starts}
        return starts


def test_a_run_whose_review_appears_midway_replays_rejected_and_flagged_states_no_more(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The file is placed by hand while the run trains, with a line that is none; other states go on being replayed."""
    cfg = composed(f"warm_start.cache_dir={tmp_path / 'warm_start'}", "run.token_budget=1400", "tracker=[]",
                   "replay.filter.review.undecided=keep", *(o for o in REVIEWED if "undecided" not in o))
    built = build.build(cfg, tmp_path, Ranks())
    draws = Draws(built.replay)
    house = replace(built, tracker=Silent(), replay=draws)   # type: ignore[arg-type]
    refused: dict[str, str] = {}
    at = 3

    def after(progress: Any) -> None:
        if progress.step == at and not refused:
            used = sorted(set().union(*draws.drawn.values()))
            refused.update(dict.fromkeys(used[::2], "rejected") | dict.fromkeys(used[1::4], "flagged"))
            lines = [json.dumps({"key": key, "decision": said}) for key, said in refused.items()]
            (tmp_path / "review.jsonl").write_text("\n".join(["not a decision", *lines]) + "\n")

    with caplog.at_level("WARNING"):
        end = loop.train(house, loop.warm_up(house, first_progress(house.run), after), after)
    before = set().union(*(keys for step, keys in draws.drawn.items() if step <= at))
    since = [keys for step, keys in draws.drawn.items() if step > at]   # step ``at`` reads it, and has drawn already
    assert len(refused) > 10 and refused.keys() <= before and end.step >= at + 3
    assert all(keys and not keys & refused.keys() for keys in since)
    assert [m for m in caplog.messages if "review.jsonl" in m] == [
        f"{tmp_path / 'review.jsonl'}: line 1: expected JSON with key and decision, got 'not a decision'. Passed over; "
        f"{len(refused)} decisions hold"
    ]


def rows_of(page: Path) -> list[dict[str, Any]]:
    (data,) = re.findall(r'data-is="rows">(.*?)</script>', page.read_text())
    found: list[dict[str, Any]] = json.loads(data)
    return found


@pytest.mark.parametrize("verb", [[], ["page"]])
def test_a_run_gets_a_page_of_all_its_states(
    saved: Any, verb: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, _, house = saved
    target = tmp_path / "x.html" if verb else folder / "review.html"
    assert main([*verb, str(folder), *(["--out", str(target)] if verb else [])]) == 0
    assert f"in {target}; open it in a browser" in capsys.readouterr().err
    rows, stored = rows_of(target), {row["key"]: row for row in house.replay.rows()}
    assert {row["key"] for row in rows} == stored.keys()
    one = rows[0]
    assert one["prefix"] == house.task.decode(stored[one["key"]]["tokens"]) and one["task"] == "keychain"
    assert one["uses"] == stored[one["key"]]["uses"] and "harm" not in one
    assert "The run reads review.jsonl in its folder at every step" in target.read_text()


def test_a_run_with_a_filter_of_harm_shows_its_number_for_every_state_and_a_store_by_itself_opens_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = "replay.filter.harm.scorer.words=[s1]"   # a word of this task stands in for a harmful one
    _, house = a_run(tmp_path / "run", "replay/filter=[length,harm]", words, "replay.filter.harm.action=quarantine")
    state = {"replay": house.replay.state_dict()}
    meta = json.loads((next((tmp_path / "run" / "checkpoints").iterdir()) / "meta.json").read_text())
    meta = {"config": meta["config"]}
    store = checkpoint.save(tmp_path / "elsewhere" / "store", state, meta)
    for given, page in ((tmp_path / "run", tmp_path / "run" / "review.html"), (store, store / "review.html")):
        assert main([str(given)]) == 0
        harm = {row["prefix"]: row["harm"] for row in rows_of(page)}
        assert {text: float("s1" in text.split()) for text in harm} == harm and set(harm.values()) == {0.0, 1.0}
        assert "This run has no filter named review" in page.read_text()
    meta["config"]["replay"]["filter"]["harm"]["scorer"]["words"] = []   # a scorer that cannot be built here
    checkpoint.save(store, state, meta)
    assert main([str(store)]) == 0
    assert "no harm scores, replay.filter.harm cannot be built" in capsys.readouterr().err
    assert not any("harm" in row for row in rows_of(store / "review.html"))


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
