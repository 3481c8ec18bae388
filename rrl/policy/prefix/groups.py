"""Rows cut where they part: every context once, every continuation on its own, or both as one tree.

The rows of a start share its context, so a network need only read it once. ``Groups`` holds the pieces;
``Tree`` lays them out in rows in which a token may see its own past and nothing of the other continuations.
Positions of every continuation count on from its own context. A row's first action is predicted by the
last state of its context, so that state is wanted once for each row of the group.
Legend: U distinct contexts, N rows, R rows of trees, A sampled tokens (flat).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from rrl.ops.segments import position_in_row, row_index
from rrl.policy.layout import action_layout, pad_right
from rrl.types import Sequences

NOTHING = -1  # the branch of columns without a token
TRUNK = 0  # the branch of a context; those of continuations count from 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Groups:
    """Contexts and continuations, both padded on the right.

    contexts, context_lengths: of each group.  continuations, lengths: what each row reads after its context;
    its last action is never read, so a row of one action has length 0.  group: of each row.
    pad: fills both.  row, depth: an action of ``row`` is predicted by the state that has read ``depth`` tokens of
    its continuation.
    """

    contexts: Int64[Tensor, "U P"]
    context_lengths: Int64[Tensor, "U"]
    continuations: Int64[Tensor, "N C"]
    lengths: Int64[Tensor, "N"]
    group: Int64[Tensor, "N"]
    pad: int
    row: Int64[Tensor, "A"]
    depth: Int64[Tensor, "A"]

    @property
    def before(self) -> Int64[Tensor, "N"]:
        """Tokens of context before each row."""
        return self.context_lengths[self.group]

    def index(self) -> Int64[Tensor, "A"]:
        """Where the wanted states stand when those of all contexts come first, then those of all continuations."""
        width, own_width = self.contexts.shape[1], self.continuations.shape[1]
        of_context = (self.group * width + self.before - 1)[self.row]
        of_row = self.contexts.numel() + self.row * own_width + self.depth - 1
        return torch.where(self.depth == 0, of_context, of_row)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """Contexts with their continuations behind them.

    ids, positions: of every column.  root: its group.  branch: TRUNK, 1 + the row it belongs to, or NOTHING.
    index: where the wanted states stand in the flattened rows.
    """

    ids: Int64[Tensor, "R L"]
    positions: Int64[Tensor, "R L"]
    root: Int64[Tensor, "R L"]
    branch: Int64[Tensor, "R L"]
    index: Int64[Tensor, "A"]

    def visible(self, window: int | None) -> Bool[Tensor, "R L L"]:
        """visible[r, q, k]: column q may see column k: k is not later, and of q's context or continuation.

        A column without a token sees itself, for a softmax over nothing is not a number.
        Context (7, 8) with continuations (1, 2) and (3,):  7: 7;  8: 7 8;  1: 7 8 1;  2: 7 8 1 2;  3: 7 8 3.

        Args:
          window: tokens that a column sees, itself included; None = all.
        """
        columns = torch.arange(self.ids.shape[1])
        root, branch = self.root, self.branch
        seen = columns <= columns[:, None]
        seen = seen & (root[:, :, None] == root[:, None, :])
        seen = seen & ((branch[:, None, :] == TRUNK) | (branch[:, None, :] == branch[:, :, None]))
        if window is not None:
            seen = seen & (self.positions[:, :, None] - self.positions[:, None, :] < window)
        return seen | torch.eye(len(columns), dtype=torch.bool)


def shared(sequences: Sequences) -> bool:
    """Whether two rows have the same context."""
    used = torch.unique(sequences.start_index).tolist()
    return len({sequences.starts[i].context for i in used}) < sequences.num_rows


def groups_of(sequences: Sequences, pad: int) -> Groups:
    """Rows with equal contexts are one group, whether or not their starts are one object.

    Contexts (7, 8), (9,) with rows (1, 2), (3,) of the first and (4, 5) of the second: contexts [[7, 8], [9, 0]],
    continuations [[1], [0], [4]] with lengths (1, 0, 1); rows (0, 0, 1, 2, 2), depths (0, 1, 0, 0, 1).
    """
    whole = action_layout(sequences, pad)
    start_index = sequences.start_index.tolist()
    wanted = [sequences.starts[i].context for i in start_index]
    number = {context: i for i, context in enumerate(dict.fromkeys(wanted))}
    contexts, context_lengths = pad_right(list(number), pad)
    group = torch.tensor([number[context] for context in wanted])
    before = context_lengths[group]
    lengths = whole.lengths - before
    columns = torch.arange(int(lengths.max()))
    inside = columns < lengths[:, None]
    place = (before[:, None] + columns).clamp(max=whole.ids.shape[1] - 1)
    continuations = torch.where(inside, whole.ids.gather(1, place), pad)
    return Groups(
        contexts=contexts, context_lengths=context_lengths, continuations=continuations, lengths=lengths, group=group,
        pad=pad, row=whole.row, depth=whole.column - (before[whole.row] - 1),
    )


def tree_of(groups: Groups, *, one_row: bool, multiple_of: int = 1) -> Tree:
    """One row a group, or all groups in one row (packed); width rounded up to a multiple.

    Context (7, 8) with continuations (1, 2) and (3,): ids (7, 8, 1, 2, 3), positions (0, 1, 2, 3, 2), branch
    (0, 0, 1, 1, 2). A first action is predicted by column 1, the second one of row 0 by column 2.
    """
    num_groups, before = len(groups.context_lengths), groups.before
    of_group = torch.zeros(num_groups, dtype=torch.int64).index_add_(0, groups.group, groups.lengths)
    sizes = groups.context_lengths + of_group
    first = sizes.cumsum(0) - sizes if one_row else torch.zeros_like(sizes)  # column of each context's first token
    width = int(sizes.sum() if one_row else sizes.max())
    width += -width % multiple_of
    order = torch.argsort(groups.group, stable=True)  # rows, group by group
    ended = groups.lengths[order].cumsum(0)
    earlier = of_group.cumsum(0) - of_group
    begin = torch.empty_like(before)  # column of each continuation's first token
    begin[order] = (first + groups.context_lengths - earlier)[groups.group[order]] + ended - groups.lengths[order]

    shape = (1 if one_row else num_groups, width)
    ids = torch.full(shape, groups.pad)
    positions = torch.zeros(shape, dtype=torch.int64)
    root, branch = torch.full(shape, NOTHING), torch.full(shape, NOTHING)
    tree_row = torch.zeros(num_groups, dtype=torch.int64) if one_row else torch.arange(num_groups)
    whose, step = _each(groups.context_lengths)
    at = (tree_row[whose], first[whose] + step)
    ids[at], positions[at], root[at], branch[at] = groups.contexts[whose, step], step, whose, TRUNK
    whose, step = _each(groups.lengths)
    at = (tree_row[groups.group[whose]], begin[whose] + step)
    ids[at], positions[at] = groups.continuations[whose, step], before[whose] + step
    root[at], branch[at] = groups.group[whose], 1 + whose

    row, depth = groups.row, groups.depth
    of_context = first[groups.group] + before - 1
    column = torch.where(depth == 0, of_context[row], begin[row] + depth - 1)
    return Tree(
        ids=ids, positions=positions, root=root, branch=branch, index=tree_row[groups.group[row]] * width + column
    )


def _each(lengths: Int64[Tensor, "N"]) -> tuple[Int64[Tensor, "T"], Int64[Tensor, "T"]]:
    """(whose, how many before it) of every token of pieces laid end to end."""
    offsets = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
    return row_index(offsets), position_in_row(offsets)
