"""A comparison's numbers worked out again from metrics.jsonl and summary.json: numpy alone, none of our reading code.

``check_numbers(sweep)`` reads comparison.html as a reader does (its tables and the data of its curves) and holds every
mean, interval and curve against its own arithmetic.
"""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from typing import Any

import numpy as np

# Student's t, .975, by degrees of freedom (any table).
T975 = {1: 12.7062, 2: 4.3027, 3: 3.1824, 4: 2.7764, 5: 2.5706, 6: 2.4469, 7: 2.3646, 8: 2.3060, 9: 2.2622}
Arms = dict[str, list[Path]]  # arm -> folders of its finished runs, by seed


def arms_of(sweep: Path) -> Arms:
    found: dict[str, dict[int, Path]] = {}
    for path in sweep.glob("*/summary.json"):
        told = json.loads(path.read_text())
        if told["status"] == "finished":
            found.setdefault(told["name"], {})[told["seed"]] = path.parent
    return {arm: [by_seed[s] for s in sorted(by_seed)] for arm, by_seed in found.items()}


def lines(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def mean_half(values: list[float]) -> tuple[float, float]:
    n = len(values)
    mean = sum(values) / n
    variance = sum((v - mean) ** 2 for v in values) / (n - 1)
    return mean, T975[n - 1] * (variance / n) ** 0.5


def last(run: Path, metric: str) -> float:
    return next(record[metric] for record in reversed(lines(run)) if metric in record)


# ------------------------------------------------------------------------------------------ what the page says


def page_of(sweep: Path) -> str:
    return (sweep / "comparison" / "comparison.html").read_text()


def tables(text: str, section: str) -> list[list[list[str]]]:
    """Tables of a section: rows of cells as text, headings first."""
    part = re.search(rf'<section id="{section}">(.*?)</section>', text, re.S)[1]
    found = []
    for table in re.findall(r"<table.*?</table>", part, re.S):
        rows = re.findall(r"<tr>(.*?)</tr>", table, re.S)
        cells = [re.findall(r"<t[hd].*?>(.*?)</t[hd]>", row, re.S) for row in rows]
        found.append([[html.unescape(re.sub("<[^>]*>", "", cell)) for cell in row] for row in cells])
    return found


def drawings(text: str) -> list[dict[str, Any]]:
    data: list[dict[str, Any]] = json.loads(
        re.search(r'id="charts">(.*?)</script>', text, re.S)[1].replace("<\\/", "</")
    )
    return data


def numbers(cell: str) -> list[float]:
    """"0.921 +- 0.053 [..]" -> [.921, .053, ...]."""
    return [float(x.replace(",", "")) for x in re.findall(r"[+-]?[\d,]*\.?\d+", cell)]


# ------------------------------------------------------------------------------------------ held against the records


def check_numbers(sweep: Path) -> None:
    text, arms = page_of(sweep), arms_of(sweep)
    _check_arms(text, arms)
    _check_aggregate(text, arms)
    _check_phases(text, arms)
    _check_cost(text, arms)
    for drawing in drawings(text):
        if drawing["y"] == "hard success at temperature 1":
            _check_curve(drawing, arms, "eval/hard_success", window=1)
        if drawing["y"] == "mean score (mean of 9 steps)":
            _check_curve(drawing, arms, "rollout/score_fresh", window=9, suffix=", fresh (bare prompt)")


def _check_arms(text: str, arms: Arms) -> None:
    head, *rows = tables(text, "arms")[0]
    assert [row[0] for row in rows] == list(arms)
    for row in rows:
        cells = dict(zip(head, row, strict=True))
        for heading, metric in (("hard success", "eval/hard_success"), ("capability", "eval/capability")):
            expected = mean_half([last(run, metric) for run in arms[row[0]]])
            np.testing.assert_allclose(numbers(cells[heading]), expected, atol=6e-4)
        assert int(cells["seeds"]) == len(arms[row[0]])


def _check_aggregate(text: str, arms: Arms) -> None:
    finals = {arm: sorted(last(run, "eval/hard_success") for run in runs) for arm, runs in arms.items()}
    for row in tables(text, "aggregate")[0][1:]:
        scores, drop = finals[row[0]], len(finals[row[0]]) // 4
        kept = scores[drop : len(scores) - drop]
        value, low, high = numbers(row[3])
        np.testing.assert_allclose(value, sum(kept) / len(kept), atol=6e-4)
        assert scores[0] - 6e-4 <= low <= value <= high <= scores[-1] + 6e-4
        if row[5] != "-":
            base = finals["ppo"]
            wins = [1.0 if x > y else 0.5 if x == y else 0.0 for x in scores for y in base]
            np.testing.assert_allclose(numbers(row[5])[0], sum(wins) / len(wins), atol=6e-4)


def _thirds(run: Path, metric: str) -> list[float]:
    records = lines(run)
    begin = max((r["progress/sampled_tokens"] for r in records if r["progress/step"] <= 0), default=0)
    end = max(r["progress/sampled_tokens"] for r in records)
    parts: list[list[float]] = [[], [], []]
    for record in records:
        place = 3 * (record["progress/sampled_tokens"] - begin) / (end - begin)
        if metric in record and place > 0:
            parts[min(2, int(np.ceil(place - 1e-12)) - 1)].append(record[metric])
    return [sum(part) / len(part) for part in parts]


def _check_phases(text: str, arms: Arms) -> None:
    seen = 0
    for row in tables(text, "phases")[0][1:]:
        if row[0] != "token entropy, fresh (nats)":
            continue
        seen += 1
        by_run = [_thirds(run, "rollout/entropy_nats_fresh") for run in arms[row[1]]]
        for place in range(3):
            np.testing.assert_allclose(numbers(row[2 + place]), mean_half([x[place] for x in by_run]), atol=6e-3)
        np.testing.assert_allclose(numbers(row[5]), mean_half([x[2] - x[0] for x in by_run]), atol=6e-3)
        if row[6] != "-":
            base = [_thirds(run, "rollout/entropy_nats_fresh")[2] for run in arms["ppo"]]
            paired = [x[2] - b for x, b in zip(by_run, base, strict=True)]
            np.testing.assert_allclose(numbers(row[6]), mean_half(paired), atol=6e-3)
    assert seen == len(arms)


def _check_cost(text: str, arms: Arms) -> None:
    head, *rows = tables(text, "cost")[0]
    for row in rows:
        cells, records = dict(zip(head, row, strict=True)), [lines(run) for run in arms[row[0]]]
        seconds = [sum(r.get("time/step_s", 0.0) for r in run) for run in records]
        np.testing.assert_allclose(numbers(cells["seconds"]), mean_half(seconds), atol=0.06)
        replayed = [sum(r.get("rollout/tokens_replayed", 0.0) for r in run) for run in records]
        if row[0] != "ppo":
            np.testing.assert_allclose(numbers(cells["behind prefixes"])[0], sum(replayed) / len(replayed), atol=0.6)
            pairs = zip(arms[row[0]], arms["ppo"], strict=True)
            gains = [last(a, "eval/hard_success") - last(b, "eval/hard_success") for a, b in pairs]
            np.testing.assert_allclose(numbers(cells["gain in hard success"]), mean_half(gains), atol=6e-4)


def _check_curve(drawing: dict[str, Any], arms: Arms, metric: str, *, window: int, suffix: str = "") -> None:
    """The mean and both ends of its band, at every point that the page draws."""
    axis = "progress/step" if "steps" in drawing["x"] else "progress/sampled_tokens"
    for arm, runs in arms.items():
        place = next(i for i, s in enumerate(drawing["series"]) if s["label"] == arm + suffix)
        x = np.array(drawing["xs"][drawing["series"][place]["x"]])
        curves = []
        for run in runs:
            points = [(r[axis], r[metric]) for r in lines(run) if metric in r]
            reach, ys = window // 2, [y for _, y in points]
            smooth = [np.mean(ys[max(0, i - reach) : i + reach + 1]) for i in range(len(ys))]
            curves.append(np.interp(x, [p for p, _ in points], smooth))
        expected = np.array([mean_half(list(column)) for column in np.transpose(curves)])
        mean, half = expected.T
        scale = {"rtol": 2e-3, "atol": 2e-3}
        np.testing.assert_allclose(drawing["series"][place]["y"], mean, **scale)
        band = next(b for b in drawing["bands"] if {b["upper"], b["lower"]} == {place - 2, place - 1})
        np.testing.assert_allclose(drawing["series"][band["upper"]]["y"], mean + half, **scale)
        np.testing.assert_allclose(drawing["series"][band["lower"]]["y"], mean - half, **scale)
