"""The language-model loss of what was solved: a further term beside the policy's objective."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from rrl.ranks import Ranks
from rrl.types import Estimated


def solved_weights(terms: Sequence[tuple[Estimated, float]], coef: float, ranks: Ranks) -> list[Tensor]:
    """Weight [A] of -log pi of every term's tokens: coef share / (solved tokens of the term) in solved rows, else 0.

    Summed, this is coef times the mean negative log-likelihood of the sampled tokens of solved rows, averaged inside
    each stream as the objective is: VAPO's positive-example loss (Yue et al., 2504.05118), the self-imitation of Oh et
    al., 1806.05635, without their clipped advantage. A stream without a solved row adds nothing.

    Example: share 1, coef .1, rows of 2 (solved), 3 and 2 (solved) tokens: .1 / 4 on four tokens.

    Args:
      terms: (rows, share); every rank gives equally many.
      coef: mu, >= 0.
      ranks: who else holds rows: counts are over all of them.
    """
    solved = [term.scored.solved[term.sequences.row_of].double() for term, _ in terms]
    counts = ranks.sum([float(x.sum()) for x in solved])
    return [
        coef * share / max(count, 1.0) * x
        for x, (_, share), count in zip(solved, terms, counts, strict=True)
    ]
