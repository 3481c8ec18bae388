"""The list of planted bugs is alive: each finds its words in the sources, and each is caught by a test."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.traps.planted import PLANTS, ROOT, Plant, apply, red_tests


@pytest.mark.parametrize("plant", PLANTS, ids=lambda p: p.name)
def test_a_plant_still_finds_its_words_in_the_sources(tmp_path: Path, plant: Plant) -> None:
    for file, _, _ in plant.edits:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, tmp_path / file)
    apply(plant, tmp_path)
    for file, _, _ in plant.edits:
        compile((tmp_path / file).read_text(), file, "exec")


@pytest.mark.slow
@pytest.mark.parametrize("plant", PLANTS, ids=lambda p: p.name)
def test_a_planted_bug_turns_a_test_red(plant: Plant) -> None:
    assert red_tests(plant)
