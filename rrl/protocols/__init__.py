"""The doors of the house, with their laws. Folder = config group = protocol = test folder.

A class satisfies a door by its shape; nothing here is inherited. Constructors take keyword
arguments only, without defaults: numbers come from the option's YAML, everything else from the
runtime pool that ``rrl.build`` offers *by parameter name*: ``seed`` (int), ``ranks``, ``codec``, ``task``,
``policy``, ``reference`` (frozen copy of the warm-started policy), ``problems``, ``value``,
``objective``, ``output_dir`` (Path), ``resolved_config`` (dict).
Every law below is a contract test over every YAML of the group.
"""

from rrl.protocols.learning import Learner, Objective, Policy, TokenLoss, Trunk, ValueEstimator, WarmStart
from rrl.protocols.replaying import (
    Admission,
    Credit,
    Cut,
    Filter,
    Growing,
    LearningSelection,
    Noise,
    ProblemWeight,
    Replay,
    RowwiseSelection,
    Schedule,
    Selection,
    Trial,
    Verdict,
)
from rrl.protocols.state import Stateful
from rrl.protocols.tasks import (
    Environment,
    Evaluator,
    JudgesBeginnings,
    Measures,
    Outcome,
    PassedTests,
    Problems,
    Recall,
    Relative,
    Reward,
    RunsPrograms,
    ScoresAhead,
    SpeltTask,
    Task,
    TextCodec,
    Tracker,
)

__all__ = [
    "Admission",
    "Credit",
    "Cut",
    "Environment",
    "Evaluator",
    "Filter",
    "Growing",
    "JudgesBeginnings",
    "Learner",
    "LearningSelection",
    "Measures",
    "Noise",
    "Objective",
    "Outcome",
    "PassedTests",
    "Policy",
    "ProblemWeight",
    "Problems",
    "Recall",
    "Relative",
    "Replay",
    "Reward",
    "RowwiseSelection",
    "RunsPrograms",
    "Schedule",
    "ScoresAhead",
    "Selection",
    "SpeltTask",
    "Stateful",
    "Task",
    "TextCodec",
    "TokenLoss",
    "Tracker",
    "Trial",
    "Trunk",
    "ValueEstimator",
    "Verdict",
    "WarmStart",
]
