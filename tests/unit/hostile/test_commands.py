"""Every command that opens a checkpoint or a run's folder, on hostile ones: exit code 1 and one line."""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from rrl import manifest
from rrl.build import House
from tests.e2e.commands import Answer, _fork, script
from tests.unit.hostile import test_checkpoints as checkpoints
from tests.unit.hostile.test_checkpoints import HOSTILE, key, text

house, whole, folder = checkpoints.house, checkpoints.whole, checkpoints.folder   # fixtures

COMMANDS = {
    "rrl.train": ["resume={}", "hydra.run.dir=out"], "rrl.eval": ["checkpoint={}", "hydra.run.dir=out"],
    "rrl.review": ["page", "{}"], "rrl.store_cli": ["stats", "{}"],
}   # fmt: skip
CONFIGS = {
    "no config": key("meta.json", "config", None),
    "a class that nobody vouched for": key("meta.json", "config/task/_target_", "os.system"),
    "a config that runs strangers' code": key("meta.json", "config/policy/trust_remote_code", True),
    "a config without rooms": key("meta.json", "config", {"name": "x", "seed": 0}),
    "a run that is a text": key("meta.json", "config/run", "x"),
    "a replay that is a list": key("meta.json", "config/replay", [1]),
    "a seed as text": key("meta.json", "config/seed", "x"),
    "a config nested deep": text("meta.json", '{"format": 2, "config": ' + '{"a":' * 500 + "1" + "}" * 501),
}   # fmt: skip
FEW = ["deep objects in meta.json", "no policy", "a name that climbs", "a class that nobody vouched for"]


def typed(module: str, arguments: Sequence[str], at: Path) -> Answer:
    """A command as if typed, in a process forked from this one."""
    main = importlib.import_module(module).main

    def direct() -> None:   # past what captures this process's output; as an installed script ends
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
        raise SystemExit(main())

    out, err = at / "out.txt", at / "err.txt"
    before = os.getcwd()
    os.chdir(at)
    try:
        code = _fork(direct, [script(module.replace(".", "-")), *arguments], out, err)
    finally:
        os.chdir(before)
    return Answer(code, out.read_text(), err.read_text())


def check(module: str, arguments: Sequence[str], at: Path, what: str) -> None:
    answer = typed(module, arguments, at)
    lines = [line for line in answer.err.splitlines() if "Warning" not in line and line.strip()]
    assert answer.code == 1, (module, what, answer)
    assert "Traceback" not in answer.err + answer.out, (module, what, answer)
    assert lines[-1].startswith("rrl-") and len(lines) == 1, (module, what, answer.err)


def opened_by_all(folder: Path, what: str) -> None:
    (HOSTILE | CONFIGS)[what](folder)
    for module, words in COMMANDS.items():
        if what == "no policy" and module in ("rrl.review", "rrl.store_cli"):
            continue   # these read the store alone
        check(module, [word.format(folder) for word in words], folder.parents[2], what)


@pytest.mark.parametrize("what", FEW)
def test_a_hostile_checkpoint_is_one_line_of_every_command(house: House, folder: Path, what: str) -> None:
    opened_by_all(folder, what)


@pytest.mark.slow
@pytest.mark.parametrize("what", sorted({**HOSTILE, **CONFIGS}))
def test_each_hostile_checkpoint_is_one_line_of_rrl_train(house: House, folder: Path, what: str) -> None:
    (HOSTILE | CONFIGS)[what](folder)
    for module in ("rrl.train", "rrl.eval"):
        check(module, [word.format(folder) for word in COMMANDS[module]], folder.parents[2], what)


@pytest.mark.slow
@pytest.mark.parametrize("what", sorted({**HOSTILE, **CONFIGS}))
def test_each_hostile_checkpoint_is_borne_or_one_line_of_others(house: House, folder: Path, what: str) -> None:
    (HOSTILE | CONFIGS)[what](folder)
    for module in ("rrl.review", "rrl.store_cli"):
        answer = typed(module, [word.format(folder) for word in COMMANDS[module]], folder.parents[2])
        assert answer.code in (0, 1) and "Traceback" not in answer.err + answer.out, (module, what, answer)


@pytest.mark.parametrize("name", ["metrics.jsonl", "summary.json", "config.yaml", "tables/prefixes.jsonl"])
def test_a_runs_folder_with_a_hostile_file_is_reported_or_one_line(tmp_path: Path, name: str) -> None:
    good = json.dumps({"progress/step": 1, "progress/sampled_tokens": 10, "eval/hard_success": 0.5})
    for said in (b"", b"[" * 100_000, b'{"a": ' * 50_000, b"\xff\xfe\x00", b"[1]", b"7",
                 b'{"final": 7, "expected": {"a": 1}}', b"!!python/object/apply:os.system [true]",
                 b'{"progress/step": 1e400, "progress/sampled_tokens": "x"}'):
        (tmp_path / "tables").mkdir(exist_ok=True)
        for other in ("metrics.jsonl", "summary.json", "config.yaml", "tables/prefixes.jsonl"):
            (tmp_path / other).unlink(missing_ok=True)
        (tmp_path / "metrics.jsonl").write_text(good + "\n")
        (tmp_path / name).write_bytes(said)
        answer = typed("rrl.report.cli", [str(tmp_path)], tmp_path)
        assert "Traceback" not in answer.err + answer.out, (name, said[:40], answer.err[-2000:])
        assert answer.code == 0 or answer.err.startswith("rrl-report: "), answer


def test_a_run_that_asks_for_strangers_code_resumes_where_the_user_asks_too(
    house: House, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key("meta.json", "config/task/unsafe", True)(folder)   # no key of this task: what is beyond the refusal is another
    said = typed("rrl.train", [f"resume={folder}"], folder.parents[2]).err
    assert "its config has task.unsafe, which runs programs without a sandbox" in said
    assert manifest.damage(folder) == ""
    monkeypatch.setenv("RRL_TRUST_REMOTE_CODE", "1")
    said = typed("rrl.train", [f"resume={folder}"], folder.parents[2]).err
    assert "task.unsafe is not an argument of" in said
