from __future__ import annotations

from typing import Any

from tests.audit import verdict


def package(name: str, *holes: str) -> dict[str, Any]:
    return {"name": name, "version": "1", "vulns": [{"id": hole, "fix_versions": ["2"]} for hole in holes]}


def skipped(name: str) -> dict[str, Any]:
    return {"name": name, "skip_reason": "not found on the index"}


def test_nothing_audited_is_a_failure() -> None:
    for report in ({}, {"dependencies": []}, {"dependencies": [skipped("a"), skipped("b")]}):
        code, lines = verdict(report)
        assert code == 2 and lines[0].startswith("audit: only 0 of")


def test_half_audited_is_a_failure_and_names_the_rest() -> None:
    code, lines = verdict({"dependencies": [package("a"), skipped("b")]})
    assert code == 2 and "  not audited: b (not found on the index)" in lines


def test_a_hole_is_a_failure_by_name_and_version() -> None:
    code, lines = verdict({"dependencies": [package("a"), package("b", "PYSEC-1")]})
    assert code == 1 and lines[1] == "  b 1: PYSEC-1 (mended in 2)"


def test_all_audited_without_holes_is_clean() -> None:
    report = {"dependencies": [*(package(f"p{i}") for i in range(9)), skipped("own")]}
    code, lines = verdict(report)
    assert code == 0 and lines == ["audit: 9 packages, 0 known holes", "  not audited: own (not found on the index)"]
