"""A group that nobody wrote laws for cannot be added quietly."""

from pathlib import Path

import pytest

from tests.contract.options import GROUPS

LAWS = "\n".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))


@pytest.mark.parametrize("group", [group for group in GROUPS if group != "replay"])
def test_the_laws_of_a_group_run_over_its_files(group: str) -> None:
    assert f'@every("{group}")' in LAWS or f'options("{group}")' in LAWS


def test_replay_itself_runs_with_every_option_of_every_part() -> None:
    from tests.contract.test_replay import MIXES

    assert ("replay", "default") in MIXES
    assert {group for group, _ in MIXES} == {group for group in GROUPS if group.split("/")[0] == "replay"}
