"""What people decided after a state was stored."""

from __future__ import annotations

from collections.abc import Mapping

from rrl.protocols import Filter
from rrl.replay.judge import Reviewer, decided
from rrl.replay.store import Store


def rejudge(store: Store, filters: Mapping[str, Filter], heard: Mapping[str, str]) -> dict[str, str]:
    """Ask people anew: approved states are kept, rejected and flagged ones quarantined, where the decision is new.

    A decision that was heard before is not applied again, or an approval would bring back at every step what a filter
    has refused since.

    Args:
        heard: key -> decision, as this returned last.

    Returns:
        All decisions there are now.
    """
    for one in filters.values():
        if isinstance(one, Reviewer):
            one.refresh()
    said = decided(filters)
    if said == heard:
        return said
    for key in sorted(said):
        row = store.shelf.find(key) if heard.get(key) != said[key] else None
        if row is not None:
            store.set_kept(row, said[key] == "approved")
    return said
