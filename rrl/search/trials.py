"""The trials of a search: asked of Optuna, run as jobs of a sweep are, told to Optuna; kept in one SQLite file."""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from hydra import compose, initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig

from rrl.reading import json_of
from rrl.search.space import Space, first_point, suggest
from rrl.sweep.jobs import Job, command
from rrl.sweep.run import Ended

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import Trial


def composed(overrides: Sequence[str]) -> DictConfig:
    """The config that rrl-train would have."""
    GlobalHydra.instance().clear()
    with initialize_config_module("rrl.conf", version_base="1.3"):
        return compose("train", list(overrides))


def open_study(space: Space, folder: Path, extra: Sequence[str]) -> Study:
    """The study in ``folder``, made where there is none.

    Raises:
      ValueError: it is one of another search, or Optuna is not installed.
    """
    try:
        import optuna
    except ImportError as error:
        raise ValueError(f"rrl-search needs optuna ({error}); pip install 'rrl[search]'") from error

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    folder.mkdir(parents=True, exist_ok=True)
    storage = f"sqlite:///{folder / 'study.db'}"
    study = optuna.create_study(study_name=space.name, storage=storage, direction=space.goal, load_if_exists=True)
    asked = {"metric": space.metric, "seed": space.seed, "overrides": [*space.overrides, *extra],
             "space": {a.key: [a.kind, *a.values] for a in space.axes}}  # fmt: skip
    asked = json.loads(json.dumps(asked))
    known = study.user_attrs.get("search", asked)
    if known != asked:
        key = next(k for k in asked if known[k] != asked[k])
        raise ValueError(
            f"{folder} holds a search with {key} = {known[key]}, now {asked[key]}; expected the same one; "
            "give --folder <a new folder>, or delete the old one"
        )
    study.set_user_attr("search", asked)
    return study


class Trials:
    """A feed of jobs. Trials that were asked and never told come first, in their own folders.

    A trial's draws are f(seed, number, what is known by then): a search that was stopped between two trials goes on as
    if it had not been.
    """

    def __init__(self, space: Space, study: Study, folder: Path, extra: Sequence[str], num_trials: int) -> None:
        from optuna.trial import Trial, TrialState

        self._space, self._study, self._folder, self._extra = space, study, folder, list(extra)
        stopped = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        self._stopped = deque(Trial(study, trial._trial_id) for trial in stopped)
        self._new = max(0, num_trials - len(study.get_trials(deepcopy=False)))
        self._asked: dict[int, Trial] = {}
        composed([*space.overrides, *extra, *first_point(space.axes)])  # an unknown key is found before anything runs

    def num_left(self) -> int:
        return len(self._stopped) + self._new

    def next(self) -> Job:
        if self._stopped:
            trial = self._stopped.popleft()
        else:
            self._new -= 1
            trial = self._ask()
        self._asked[trial.number] = trial
        varied = suggest(trial, self._space.axes)
        trial.set_user_attr("overrides", varied)
        given = [*self._space.overrides, *self._extra, *varied]
        folder = self._folder / f"trial_{trial.number:04d}"
        return Job(
            trial.number, folder, " ".join(varied), tuple(given), composed(given),
            command(given, folder, trial.number, hydra=()),
        )  # fmt: skip

    def tell(self, job: Job, ended: Ended) -> None:
        from optuna.trial import TrialState

        if ended.state in ("interrupted", "elsewhere"):
            return  # it stays open: the next rrl-search goes on with it
        value = measured(job.folder, self._space.metric)
        if ended.state == "failed" or value is None:
            self._study.tell(self._asked[job.number], state=TrialState.FAIL)
            return
        self._study.tell(self._asked[job.number], value)

    def _ask(self) -> Trial:
        from optuna.samplers import TPESampler

        number = len(self._study.get_trials(deepcopy=False))
        seed = int(np.random.SeedSequence([self._space.seed, number]).generate_state(1)[0])
        # constant_liar: a trial that runs now is taken for a bad one, so that two at a time are not alike.
        self._study.sampler = TPESampler(seed=seed, constant_liar=True)
        return self._study.ask()


def measured(folder: Path, metric: str) -> float | None:
    """The metric at the end of a finished run; None where the run did not finish or measured no number."""
    path = folder / "summary.json"
    try:
        summary: dict[str, Any] = json_of(path.read_text()) if path.is_file() else {}
        value = float(summary["final"][metric]) if summary["status"] == "finished" else math.nan
    except (ValueError, LookupError, TypeError):
        return None
    return value if math.isfinite(value) else None
