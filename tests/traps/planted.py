# ruff: noqa: E501  (edits quote the sources as they stand)
"""Bugs planted one at a time in a copy of the sources: does a test go red?

    python -m tests.traps.planted      rewrites docs/results/planted_bugs.md (minutes)

A plant is a few words of the sources replaced by wrong ones. ``test_planted.py`` keeps the list alive: quickly, that
each plant still finds its words; slowly, that each is still caught.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
RUN = "tests/e2e/test_same_run.py"
REPLAYED = "tests/e2e/test_what_was_replayed.py"
TRAPS = "tests/traps/test_traps.py"


@dataclass(frozen=True, slots=True)
class Plant:
    """A bug: (file, right words, wrong words) edits, and where tests that should notice stand."""

    bug: str
    edits: tuple[tuple[str, str, str], ...]
    look: tuple[str, ...]

    @property
    def name(self) -> str:
        return re.sub(r"[^a-z0-9]+", "_", self.bug.lower()).strip("_")


PLANTS = (
    Plant("prefix positions are trained: actions are counted from the end of the prompt", (
        ("rrl/policy/layout.py", "row=row, column=before[row] - 1 + u)",
         "row=row, column=torch.tensor([len(s.problem.prompt) for s in sequences.starts])[sequences.start_index][row] - 1 + u)"),
    ), ("tests/unit/policy",)),
    Plant("off by one at the boundary: an action is predicted by its own state", (
        ("rrl/policy/layout.py", "row=row, column=before[row] - 1 + u)",
         "row=row, column=(before[row] + u).clamp(max=width - 1))"),
    ), ("tests/unit/policy",)),
    Plant("a start is valued at its prompt, not at its prefix", (
        ("rrl/policy/layout.py", "row=row, column=lengths - 1)",
         "row=row, column=torch.tensor([len(s.problem.prompt) for s in starts]) - 1)"),
    ), ("tests/unit/policy",)),
    Plant("off by one in the bootstrap: the state before the last action", (
        ("rrl/value/heads.py", "sequences.tokens_of(i))", "sequences.tokens_of(i)[:-1])"),
    ), ("tests/unit/value/test_critic.py",)),
    Plant("GAE leaks into the next row", (
        ("kernels/rrl_kernels/scan/torch_impl.py", "    decay[(offsets[1:] - 1)[lengths > 0]] = 0.0", "    pass"),
    ), ("tests/kernels/test_segments.py", "tests/unit/advantage")),
    Plant("a group mixes different prefixes of one problem", (
        ("rrl/value/groups.py", "keys = [s.group for s in sequences.starts]", "keys = [s.problem.id for s in sequences.starts]"),
    ), ("tests/unit/value/test_group_mean.py",)),
    Plant("fresh and replayed advantages are whitened together", (
        ("rrl/value/heads.py", "whiten(advantage, stream[sequences.row_of],", "whiten(advantage, 0 * stream[sequences.row_of],"),
    ), ("tests/unit/value/test_critic.py",)),
    Plant("behaviour log-probs at temperature 1 whatever was sampled", (
        ("rrl/policy/engine/draw.py", "logprob = log_p.gather(-1, token)[:, 0]",
         "logprob = torch.log_softmax(wide, -1).gather(-1, token)[:, 0]"),
    ), ("tests/unit/policy/test_rollout.py", TRAPS)),
    Plant("behaviour log-probs of an old policy", (
        ("rrl/experience.py", "    with clock.phase(\"score\"):",
         "    import dataclasses\n    old = house.learner._reference.logprob(rollouts.sequences)[0]\n"
         "    rollouts = dataclasses.replace(rollouts, behavior_logprob=old)\n    with clock.phase(\"score\"):"),
    ), (TRAPS,)),
    Plant("replays count in the problem's own success rate e_p", (
        ("rrl/replay/book.py", "for s in seen if not s.attempt.start.replayed])", "for s in seen])"),
    ), ("tests/unit/replay/test_observe.py",)),
    Plant("stale values: re-scored numbers are thrown away", (
        ("rrl/replay/replay.py", "self.store.write_scores(rows, mean[len(bare) :], std[len(bare) :], progress.step)", "pass"),
    ), ("tests/unit/replay/test_draw.py",)),
    Plant("self-reinforcement: a solved problem is never parked", (
        ("rrl/replay/problem_table.py", "(success >= self._retire_at) | (parked & (success >= self._reopen_below))",
         "np.zeros_like(parked)"),
    ), ("tests/unit/replay/test_observe.py", "tests/unit/replay/test_store.py")),
    Plant("self-reinforcement: a solved problem is still credited and admitted", (
        ("rrl/replay/problem_table.py", "found: np.ndarray = self.columns[\"root_success\"][numbers] >= self._retire_at", "found: np.ndarray = np.zeros(len(numbers), dtype=bool)"),
    ), ("tests/unit/replay/test_observe.py", "tests/unit/replay/test_store.py")),
    Plant("self-reinforcement: failed replays are credited", (
        ("rrl/replay/replay.py", "row = self.store.shelf.find(attempt.start.key) if attempt.solved else None",
         "row = self.store.shelf.find(attempt.start.key)"),
        ("rrl/replay/credit/positive.py", "if not attempt.solved or not attempt.start.replayed", "if not attempt.start.replayed"),
    ), ("tests/unit/replay/test_observe.py", "tests/unit/replay/test_credit.py", REPLAYED)),
    Plant("credit without a limit a state", (
        ("rrl/replay/replay.py", "problems.retired(number) or 0 < self._max_credits <= columns[\"raw_conversions\"][row]",
         "problems.retired(number)"),
    ), ("tests/unit/replay/test_observe.py",)),
    Plant("credit behind the prefix instead of from the bare prompt", (
        ("rrl/replay/replay.py", "(Start(problem=starts[row].problem), starts[row].prefix,", "(starts[row], starts[row].prefix,"),
    ), ("tests/unit/replay/test_observe.py", REPLAYED)),
    Plant("a dead state never sleeps", (
        ("rrl/replay/sleep.py", "tired = fails >= rule.dead_after", "tired = fails >= 10**9"),
    ), ("tests/unit/replay/test_draw.py", "tests/unit/replay/test_sleep.py")),
    Plant("early states may be evicted by late ones", (
        ("rrl/replay/eviction.py",
         "return not newcomer_early and num_early - 1 < at_least", "return False"),
    ), ("tests/unit/replay/test_store.py",)),
    Plant("random streams coupled: replayed rows first, so fresh rows get other noise", (
        ("rrl/loop.py", "experience(house, fresh + replayed, progress, clock)", "experience(house, replayed + fresh, progress, clock)"),
    ), (REPLAYED,)),
    Plant("random streams coupled: all draw from one shared generator", (
        ("rrl/rng.py", "    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(_entropy(seed, stream, *numbers))))",
         "    global _shared\n    _shared = globals().get(\"_shared\") or np.random.default_rng(seed)\n    return _shared"),
    ), ("tests/unit/rng", "tests/unit/replay/test_draw.py", RUN)),
    Plant("a checkpoint without the store", (
        ("rrl/saver.py", "\"learner\", \"replay\", \"exploration\",", "\"learner\", \"exploration\","),
    ), (RUN,)),
    Plant("a checkpoint without Adam's moments", (
        ("rrl/saver.py", "\"value\", \"learner\", \"replay\"", "\"value\", \"replay\""),
    ), (RUN,)),
    Plant("a checkpoint that forgets when it last re-scored", (
        ("rrl/replay/replay.py", "self._last_rescore = state[\"last_rescore\"]", "self._last_rescore = None"),
    ), ("tests/unit/replay/test_observe.py", RUN)),
    Plant("lessons are built after observe", (
        ("rrl/loop.py",
         "            lessons = ranks.on_main(replay.lessons, attempts)  # what converted prefixes teach\n", ""),
        ("rrl/loop.py", "            explored, signals = house.exploration.observe(attempts, progress)\n            remembered",
         "            lessons = ranks.on_main(replay.lessons, attempts)\n"
         "            explored, signals = house.exploration.observe(attempts, progress)\n            remembered"),
    ), (TRAPS, REPLAYED)),
    Plant("left padding counts as positions in the transformers engine", (
        ("rrl/policy/layout.py", "(columns - first).clamp(min=0)", "columns.expand(len(rows), -1).clone()"),
    ), ("tests/unit/policy",)),
    Plant("short rows weigh more: the token mean is a mean of row means", (
        ("rrl/objective/binding.py", "if aggregation == \"token_mean\":", "if aggregation == \"none of them\":"),
    ), ("tests/unit/objective", TRAPS)),
    Plant("a replayed row may outgrow the response limit by its prefix", (
        ("rrl/policy/engine/request.py", "[start.room for start in starts]", "[start.problem.max_response for start in starts]"),
    ), ("tests/unit/policy/test_rollout.py", TRAPS)),
    Plant("replays come on top of a full batch of fresh starts", (
        ("rrl/loop.py", "house.problems.draw(num_starts - len(replayed) - len(wanted), progress)", "house.problems.draw(num_starts, progress)"),
    ), (TRAPS,)),
    Plant("replays take the place of problems of the epoch for good", (
        ("rrl/problems/epoch.py", "progress.step * self._starts_per_step + len(drawn)", "progress.step * num + len(drawn)"),
    ), ("tests/unit/problems", TRAPS)),
    Plant("what only the first scorer believes in is credited", (
        ("rrl/replay/filter/second_verifier.py", "if self._verifier.score(prefix.problem, response).solved:", "if True:"),
    ), ("tests/traps/test_replay_traps.py", "tests/unit/replay/test_menu_safety.py")),
    Plant("a converted state that a filter refuses is drawn again", (
        ("rrl/replay/book.py", "            store.set_kept(row, False)", "            pass"),
    ), ("tests/unit/replay/test_observe.py", "tests/unit/replay/test_menu_safety.py")),
    Plant("prefixes are spelled anew: two tokens that read as one become that one", (
        ("rrl/replay/shelf.py", "        return [tuple(flat[first:end]) for first, end in zip([0, *ends], ends, strict=False)]",
         "        return [tuple(t for i, t in enumerate(flat[first:end]) if not i or t != flat[first + i - 1]) for first, end in zip([0, *ends], ends, strict=False)]"),
    ), ("tests/traps/test_replay_traps.py",)),
    Plant("a store of another tokenizer is read", (
        ("rrl/replay/spelling.py", "if stored != ours:", "if False:"),
    ), ("tests/traps/test_replay_traps.py", "tests/unit/replay/test_spelling.py")),
    Plant("a problem with another prompt is taken for the stored one", (
        ("rrl/replay/problem_table.py", "elif known.prompt != problem.prompt:", "elif False:"),
    ), ("tests/unit/replay/test_spelling.py",)),
    Plant("forgetting is not watched", (
        ("rrl/replay/alarm.py", "rings = fresh_now < fresh_before - _MOVED and replayed_now > replayed_before + _MOVED", "rings = False"),
    ), ("tests/traps/test_replay_traps.py", "tests/unit/replay/test_alarm.py")),
    Plant("workers of one replay are not kept apart", (
        ("rrl/replay/lock.py", "        with self._lock:\n            return verb(self, *args, **kwargs)",
         "        return verb(self, *args, **kwargs)"),
    ), ("tests/unit/replay/test_lock.py", "tests/traps/test_replay_traps.py")),   # the second is a race: red at times
    Plant("the harm of the prompt alone is scored", (
        ("rrl/replay/filter/harm.py", "prompt=plain(state.prefix)", "prompt=state.problem.prompt"),
    ), ("tests/traps/test_replay_traps.py", "tests/unit/replay/test_menu_safety.py")),
    Plant("a running replay does not hear what people decide", (
        ("rrl/replay/replay.py", "        self._heard = rejudge(self.store, self._filters, self._heard)\n", ""),
    ), ("tests/unit/replay/test_review.py", "tests/unit/review/test_review_command.py")),
    Plant("a resumed replay does not hear what people decided meanwhile", (
        ("rrl/replay/replay.py", "rejudge(self.store, self._filters, dict(state[\"heard\"]))", "dict(state[\"heard\"])"),
    ), ("tests/unit/replay/test_review.py",)),
    Plant("a cut falls where the environment has the word", (
        ("rrl/replay/remember.py", "boundaries = past_given(cut.boundaries(attempt), attempt.response)", "boundaries = cut.boundaries(attempt)"),
    ), ("tests/unit/replay/test_given.py",)),
    Plant("given tokens count as depth", (
        ("rrl/replay/shelf.py", "\"depth\": depth}", "\"depth\": lengths}"),
    ), ("tests/unit/replay/test_given.py",)),
    Plant("success is evaluated behind the right prefix", (
        ("rrl/evaluate.py", "name: self._count_solved([Start(problem=p) for p in group]",
         "name: self._count_solved([Start(problem=p, prefix=self._task.right_prefix(p)) for p in group]"),
    ), ("tests/unit/evaluate", TRAPS)),
)  # fmt: skip


def copy_of_the_sources(folder: Path) -> Path:
    """What the tests need, without caches and git."""
    for name in ("rrl", "conf", "kernels", "tests", "sweeps"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def apply(plant: Plant, root: Path) -> None:
    """Plant it. Raises ValueError where its words do not stand exactly once."""
    for file, right, wrong in plant.edits:
        path = root / file
        text = path.read_text()
        if text.count(right) != 1:
            raise ValueError(f"{plant.name}: {file} has {text.count(right)} places like {right!r}; expected 1")
        path.write_text(text.replace(right, wrong))


def red_tests(plant: Plant) -> list[str]:
    """Names of the tests that fail when ``plant`` is planted in a copy."""
    with tempfile.TemporaryDirectory() as folder:
        root = copy_of_the_sources(Path(folder))
        apply(plant, root)
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-rfE", "--tb=no", "--deselect",
             "tests/traps/test_planted.py", *plant.look],
            cwd=root, env=os.environ | {"PYTHONPATH": f"{root}{os.pathsep}{root / 'kernels'}", "OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
        )  # fmt: skip
    if done.returncode not in (0, 1):
        raise RuntimeError(f"{plant.name}: pytest ended with {done.returncode}: {done.stdout[-500:]}{done.stderr[-500:]}")
    found = re.findall(r"^(?:FAILED|ERROR) (tests/[^:]+)::([^ \[\n]+)", done.stdout, flags=re.MULTILINE)
    return list(dict.fromkeys(f"{Path(file).parent.name}/{Path(file).name}::{name}" for file, name in found))


def main() -> None:
    head = [
        "# Planted bugs", "",
        "Each bug was planted alone in a copy of the sources and the tests beside it were run: "
        "`python -m tests.traps.planted`. Up to four of the tests that went red are named.", "",
        "| bug planted | where | the tests that went red |", "|---|---|---|",
    ]  # fmt: skip
    rows, missed = [], []
    for plant in PLANTS:
        red = red_tests(plant)
        missed += [] if red else [plant.bug]
        named = "<br>".join(f"`{name}`" for name in red[:4]) + ("<br>..." if len(red) > 4 else "")
        where = ", ".join(sorted({f"`{file}`" for file, _, _ in plant.edits}))
        rows.append(f"| {plant.bug} | {where} | {named or '**none**'} |")
        print(f"{len(red):3} red   {plant.bug}", flush=True)
        (ROOT / "docs" / "results" / "planted_bugs.md").write_text("\n".join([*head, *rows]) + "\n")
    if missed:
        raise SystemExit(f"not caught: {'; '.join(missed)}")


if __name__ == "__main__":
    main()
