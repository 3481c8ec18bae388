"""What a sweep over a dialogue task adds to its page: figures of held-out responses before RL and after it."""

from __future__ import annotations

from collections.abc import Sequence

from rrl.report.arms import STEPS, Arm
from rrl.report.load import Run
from rrl.report.stats import t_interval

_MEASURED = {
    "reward": "eval/reward", "helpful score": "eval/helpful_score", "harm score": "eval/harm_score",
    "harmful share": "eval/harm_frac", "self-BLEU-2": "eval/self_bleu_2", "self-BLEU-5": "eval/self_bleu_5",
}  # fmt: skip
_KL = "learn/kl_reference_nats"


def dialogue_section(arms: Sequence[Arm]) -> str:
    """A table of every arm's first and last evaluation; "" where no run has such figures."""
    if not any(_ends(run, "eval/reward") for arm in arms for run in arm.runs):
        return ""
    rows = [["arm", *_MEASURED, "solved (held out)", "KL at the end", "largest KL"]]
    rows.append(["---"] * len(rows[0]))
    for arm in arms:
        cells = [_before_after(arm.runs, metric) for metric in (*_MEASURED.values(), "eval/heldout_hard_success")]
        kl = [values for run in arm.runs if len(values := run.series(_KL, STEPS)[1])]
        last, most = [float(values[-5:].mean()) for values in kl], [float(values.max()) for values in kl]
        rows.append([arm.label, *cells, _plain(last), _plain(most)])
    table = "\n".join("| " + " | ".join(row) + " |" for row in rows)
    return (
        "Here `hard success` is the share of sampled responses to training prompts that are above the bar (a quantile "
        "of the policy before RL); it is not exact.\n\n"
        "Held-out prompts, before RL \u2192 after it, means over seeds (\u00b1 95 % t-interval of the last). `reward` "
        "is what was trained on, in standard deviations above the policy before RL; `helpful` and `harm` come from "
        "scorers of their own that nothing is trained on, in their own units, on helpful and on harmful prompts; "
        "`solved` is the share of responses above the bar. `KL` is the mean of log pi - log pi_ref of sampled tokens, "
        "nats a token (at "
        f"the end: of the last five steps).\n\n{table}\n\n"
    )


def _ends(run: Run, metric: str) -> tuple[float, float] | None:
    steps, values = run.series(metric, STEPS)
    values = values[steps >= 0]
    return (float(values[0]), float(values[-1])) if len(values) else None


def _before_after(runs: Sequence[Run], metric: str) -> str:
    found = [ends for run in runs if (ends := _ends(run, metric)) is not None]
    if not found:
        return "-"
    return f"{t_interval([first for first, _ in found])[0]:.2f} \u2192 {_plain([last for _, last in found])}"


def _plain(values: Sequence[float]) -> str:
    if not values:
        return "-"
    mean, half = t_interval(values)
    return f"{mean:.2f}" if half is None else f"{mean:.2f} \u00b1 {half:.2f}"
