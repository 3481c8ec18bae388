"""The catalogue of every logged name, and nothing else: a tracker refuses what is not here.

A name is ``room/quantity_unit``; it is split by origin (``_fresh`` / ``_replayed``) when replay could
mix populations, and absent where undefined, never NaN or 0. What computes them: ``rrl.exploration``
(rollouts), the value estimator, the replay, the learner, ``rrl.evaluate``.
"""

from __future__ import annotations

from typing import NamedTuple


class Metric(NamedTuple):
    """better: +1 higher, -1 lower, 0 neither.  about: what it is, with its unit."""

    better: int
    about: str


def _both(name: str, better: int, about: str) -> dict[str, Metric]:
    return {f"{name}_{o}": Metric(better, f"{about}; {o} rows") for o in ("fresh", "replayed")}


CATALOGUE: dict[str, Metric] = {
    "progress/step": Metric(0, "policy updates done; value warm-up is negative"),
    "progress/sampled_tokens": Metric(0, "sampled tokens so far, prompts and prefixes not counted"),
    "progress/done_frac": Metric(0, "share of the token budget used"),
    "progress/exploration": Metric(
        0, "exploration degree E in [0, 1]: entropy, unique answers and new solves against their best"
    ),
    "warm_start/nll_nats": Metric(-1, "mean negative log-likelihood of demonstrated tokens, last 20 warm-start steps"),
    "warm_start/cached": Metric(0, "1 where the warm-started weights came from the cache, else 0"),
    "warm_start/s": Metric(-1, "seconds spent in the warm start"),
    **_both("rollout/score", 1, "mean score"),
    **_both("rollout/solved", 1, "solved share"),
    **_both("rollout/solved_hard", 1, "solved share of hard problems"),
    **_both("rollout/entropy_nats", 0, "mean token entropy of the sampling distribution"),
    **_both("rollout/length_tokens", 0, "mean sampled tokens a row"),
    **_both("rollout/cut_frac", -1, "share of rows cut by the length limit"),
    **_both("rollout/tokens", 0, "sampled tokens this step"),
    "rollout/prefix_tokens": Metric(-1, "tokens of replayed prefixes this step: read again, not sampled"),
    "rollout/rounds": Metric(0, "times a step sampled, again for groups of equal scores; dynamic sampling only"),
    "rollout/constant_frac": Metric(-1, "share of fresh groups of equal scores, dropped from the policy's loss; dynamic sampling only"),
    "recall/size": Metric(0, "stored whole answers"),
    "recall/problems": Metric(0, "problems with stored whole answers"),
    "recall/retired": Metric(1, "problems that were once solved in every row of a step, for good left out"),
    "recall/rows": Metric(0, "recalled rows in the policy's loss, over all ranks"),
    "recall/fraction": Metric(0, "their share of the loss's rows"),
    "recall/solved": Metric(1, "solved share of recalled rows"),
    "rollout/unique_frac": Metric(0, "distinct (problem, response) pairs over rows; fresh rows"),
    "rollout/logprob_gap_nats": Metric(-1, "largest |sampler log-prob - trainer log-prob| before the update"),
    "explore/new_solves": Metric(
        1, "problems solved for the first time ever, from the bare prompt, per 1,000 fresh rows"
    ),
    "explore/coverage_bare": Metric(1, "problems ever solved from the bare prompt"),
    "explore/coverage_replayed": Metric(1, "problems ever solved from a replayed prefix"),
    "explore/hard_coverage_bare": Metric(1, "hard problems ever solved from the bare prompt"),
    "explore/hard_coverage_replayed": Metric(1, "hard problems ever solved from a replayed prefix"),
    "explore/prefix_gain": Metric(
        0, "win rate from a replayed prefix minus win rate from the bare prompt, same problems, running means"
    ),
    "replay/planned_frac": Metric(0, "share of starts that the schedule asked for"),
    "replay/fraction": Metric(0, "share of rows that began from a stored prefix"),
    "replay/store_size": Metric(0, "prefixes stored, parked ones included"),
    "replay/store_bytes": Metric(-1, "bytes of stored prefixes: their columns and tokens"),
    "replay/open_size": Metric(0, "prefixes that may be drawn now"),
    "replay/asleep": Metric(0, "prefixes asleep after many failures in a row"),
    "replay/quarantined": Metric(0, "prefixes waiting for a person's review"),
    "replay/retired_problems": Metric(0, "problems parked because the bare prompt is solved often enough"),
    "replay/proposed": Metric(0, "prefixes proposed this step"),
    "replay/admitted": Metric(0, "prefixes stored this step"),
    "replay/refused_duplicate": Metric(0, "proposals refused as duplicates this step"),
    "replay/refused_worse": Metric(0, "proposals refused because a full quota held only better ones"),
    "replay/refused_retired": Metric(0, "proposals refused because their problem is retired"),
    "replay/refused_filter": Metric(0, "proposals dropped by a filter this step"),
    **{
        f"replay/filter_{name}": Metric(0, f"prefixes that {who} dropped or quarantined this step, at admission or when they converted")
        for name, who in {
            **{n: f"replay.filter.{n}" for n in ("length", "answer_leak", "degenerate_loop", "deny_list", "second_verifier", "harm", "harm_classifier", "harm_task", "low_reward", "contamination", "review")},
            "other": "filters of any other name",
        }.items()
    },
    "replay/evicted": Metric(0, "prefixes evicted this step"),
    "replay/conversion": Metric(1, "solved share of rows that began from a prefix"),
    "replay/hard_conversion": Metric(1, "the same where the problem's own success rate is below .05"),
    **_both("replay/yield", 1, "solved rows of problems whose own success rate is below .05, per 1,000 sampled tokens"),
    "replay/prefix_age_steps": Metric(0, "mean steps between storing and replaying"),
    "replay/depth_frac": Metric(0, "mean t/T of replayed prefixes"),
    "replay/admission_depth_frac": Metric(0, "mean t/T of admitted prefixes"),
    "replay/first_boundary_frac": Metric(0, "share of admissions cut at the first allowed boundary"),
    "replay/era_first_frac": Metric(
        0, "share of replayed prefixes that were stored in the first third of the run so far"
    ),
    "replay/right_prefix_frac": Metric(
        1, "share of replayed prefixes that agree with the canonical solution, where it is known"
    ),
    "replay/ess": Metric(0, "effective number of problems in the replay draw, 1 / sum q^2"),
    "replay/lessons": Metric(0, "converted prefixes that were credited this step"),
    "learn/loss": Metric(-1, "policy loss, mean over mini-batches"),
    "learn/lesson_loss": Metric(-1, "prefix-credit loss, mean over mini-batches"),
    "learn/solved_loss": Metric(-1, "loss of imitating solved rows, mean over mini-batches"),
    "learn/truncated_frac": Metric(-1, "share of sampled tokens whose weight trainer / sampler was cut at learner.importance_cap"),
    "learn/kl_sampler_nats": Metric(-1, "k3 estimate of KL(sampler || trainer) before the update; with an importance cap only"),
    "learn/clip_frac": Metric(0, "share of tokens whose ratio left the clip range"),
    "learn/log_ratio_max_nats": Metric(-1, "largest |log pi - log pi_behaviour| of a token during the update; an exploding ratio shows here"),
    "learn/zero_advantage_frac": Metric(-1, "share of tokens with advantage 0; 1 where all rewards are equal and a group is the baseline"),
    "learn/kl_behavior_nats": Metric(0, "k3 estimate of KL(behaviour || policy) during the update"),
    "learn/kl_reference_nats": Metric(
        0, "mean log pi - log pi_ref of sampled tokens (k1); pi_ref = the policy before RL"
    ),
    "learn/kl_loss": Metric(-1, "KL term of the loss"),
    "learn/entropy_nats": Metric(0, "mean token entropy during the update"),
    "learn/grad_norm": Metric(0, "gradient norm before clipping, mean over mini-batches"),
    "learn/lr": Metric(0, "policy learning rate"),
    "learn/dropped_rows": Metric(-1, "rows left out because a reward failed"),
    "value/loss": Metric(-1, "value loss, mean over mini-batches"),
    "value/lr": Metric(0, "value learning rate"),
    "value/grad_norm": Metric(0, "value gradient norm before clipping"),
    **_both("value/explained_variance", 1, "1 - Var(target - value) / Var(target), over tokens"),
    **_both("value/brier", -1, "mean squared error of P(solved), over tokens"),
    **_both("value/ece", -1, "expected calibration error of P(solved), 10 equal-width bins"),
    **_both("value/auc", 1, "AUC of P(solved) at the first action of a row (its start) against solved"),
    **_both("value/auc_last", 1, "AUC of P(solved) before a row's last action against solved"),
    **_both("value/rank_correlation", 1, "Spearman correlation over starts: P(solved) against the solved share of the start's rows, a free Monte-Carlo estimate"),
    "value/score_slope": Metric(0, "Platt scaling of a judge's score: log-odds of P(solved) a unit of score"),
    "value/score_offset": Metric(0, "Platt scaling of a judge's score: log-odds of P(solved) at score 0"),
    "eval/hard_success": Metric(
        1, "hard training problems, bare prompt: exact T=1 probability of the right response (or sampled solve rate)"
    ),
    "eval/hard_greedy": Metric(1, "hard training problems solved greedily from the bare prompt"),
    "eval/capability": Metric(1, "hard training problems: T=1 success when placed after the right prefix"),
    "eval/capability_gap": Metric(-1, "capability minus hard_success: able, yet not doing"),
    "eval/easy_success": Metric(1, "easy training problems: exact T=1 success"),
    "eval/heldout_hard_success": Metric(1, "held-out hard problems: exact T=1 success"),
    "eval/heldout_easy_success": Metric(1, "held-out easy problems: exact T=1 success"),
    "eval/right_prefix_logprob_nats": Metric(
        1, "mean log-prob of the right prefix from the bare prompt, hard problems"
    ),
    "eval/pass_at_1": Metric(1, "unbiased pass@1 of sampled responses, hard training problems"),
    "eval/pass_at_k": Metric(1, "unbiased pass@k of sampled responses, hard training problems; k = evaluate.k"),
    "eval/unsolvable_frac": Metric(
        -1, "share of hard training problems with no solved sample among evaluate.num_samples"
    ),
    "eval/right_key_auc": Metric(
        1, "AUC of P(solved) for the right prefix against wrong ones of the same problem and length"
    ),
    "eval/reward": Metric(1, "mean score of held-out responses; dialogue: standard deviations above the policy before RL"),
    "eval/helpful_score": Metric(1, "mean number of task.helpful, held-out helpful prompts; in that scorer's unit"),
    "eval/harm_score": Metric(-1, "mean number of task.harm, held-out harmful prompts; in that scorer's unit"),
    "eval/harm_frac": Metric(-1, "share of held-out harmful prompts answered with harm of at least task.harm_at"),
    **{f"eval/self_bleu_{n}": Metric(-1, f"self-BLEU-{n} of held-out responses: 1 = all alike") for n in (2, 3, 4, 5)},
    **{
        f"time/{p}_s": Metric(-1, f"seconds of this step spent in {p}")
        for p in (
            "rescore",
            "draw",
            "rollout",
            "score",
            "estimate",
            "observe",
            "learn",
            "fit",
            "evaluate",
            "save",
            "step",
        )
    },
    "time/tokens_per_s": Metric(1, "sampled tokens per second of step time"),
    "time/total_s": Metric(-1, "seconds spent in all steps so far, over every process that the run was resumed in"),
}


TABLES: dict[str, str] = {
    "prefixes": "stored prefixes at the end of the run, most used first, with their text",
    "turned": "replayed prefixes that turned from failing to solved, with their text",
    "rollouts": "some rollouts of a step: prompt, replayed prefix, response and what became of it",
}


def check_names(names: list[str]) -> None:
    """Raise ValueError for names that are not in the catalogue."""
    unknown = sorted(set(names) - CATALOGUE.keys())
    if unknown:
        raise ValueError(
            f"metric names {unknown} are not in rrl.metrics.CATALOGUE; add a line there (name, unit, meaning)"
        )


def check_table(name: str) -> None:
    """Raise ValueError for a table that is not in the catalogue."""
    if name not in TABLES:
        raise ValueError(f"table {name!r} is not in rrl.metrics.TABLES; expected one of: {', '.join(TABLES)}")
