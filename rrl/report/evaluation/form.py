"""What ``eval.json`` and the rows of ``samples.jsonl`` have to look like: they may be somebody else's, or half gone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

from rrl.annotations import fit

_RECORD: dict[str, Any] = {
    "name": str, "status": str, "checkpoint": str | None, "step": int | None, "temperature": float,
    "metrics": dict[str, float], "k": list[int], "request": dict[str, Any], "command": str, "commit": str,
    "versions": dict[str, str], "device": str,
}  # fmt: skip
_REQUEST: dict[str, Any] = {
    "task": str, "task_fingerprint": str, "split": str, "seed": int, "num_problems": int, "num_samples": int,
    "weights": str,
}  # fmt: skip
_ROW: dict[str, Any] = {
    "problem": str, "difficulty": str, "prompt": str, "answer": str, "dropped": bool, "responses": list[Any],
    "greedy": dict[str, Any] | None,
}  # fmt: skip
_RESPONSE: dict[str, Any] = {"text": str, "tokens": int, "ended": bool, "solved": bool, "score": float}
_TESTS: dict[str, Any] = {
    "kind": Literal["solved", "wrong", "too_slow", "runtime_error", "compile_error", "cut"],
    "passed": int, "total": int,
}  # fmt: skip


def check_record(record: Any, where: str) -> dict[str, Any]:
    """``eval.json`` as it was read. Raises ValueError, by key, where it is not one of ours."""
    _fits(record, _RECORD, where)
    request = record["request"]
    _fits(request, _REQUEST, f"{where}: request")
    num = request["num_samples"]
    if num < 1 or any(not 1 <= k <= num for k in record["k"]):
        raise ValueError(f"{where}: k is {record['k'][:5]} of {num} samples; expected 1..that many")
    if not math.isfinite(record["temperature"]):
        raise ValueError(f"{where}: temperature is {record['temperature']}; expected a number > 0")
    versus = record.get("versus")
    if versus is not None and not (isinstance(versus, dict) and isinstance(versus.get("baseline"), str)):
        raise ValueError(f"{where}: versus names no baseline; expected a folder; delete the key, and it is forgotten")
    found: dict[str, Any] = record
    return found


def check_rows(rows: list[dict[str, Any]], least: int, where: str) -> None:
    """Raise ValueError, by line and key, where a row is not one of ours.

    Args:
      least: responses of a problem that was scored; the largest k of pass@k.
    """
    programs = {"tests" in response for row in rows for response in _responses(row) if isinstance(response, dict)}
    for number, row in enumerate(rows, start=1):
        line = f"{where} line {number}"
        _fits(row, _ROW, line)
        if not row["dropped"] and len(row["responses"]) < least:
            raise ValueError(f"{line} has {len(row['responses'])} responses; expected at least {least}")
        for response in _responses(row):
            _fits(response, _RESPONSE, f"{line}: a response")
            if not math.isfinite(response["score"]) or len(programs) > 1:
                raise ValueError(f"{line}: a response has score {response['score']}, or no tests where others have; "
                                 "expected finite scores, and tests everywhere or nowhere")
            if response.get("tests") is not None:
                _fits(response["tests"], _TESTS, f"{line}: tests")
                if response["tests"]["total"] < 1:
                    raise ValueError(f"{line}: tests has total {response['tests']['total']}; expected >= 1")


def _responses(row: Mapping[str, Any]) -> list[Any]:
    found, greedy = row.get("responses"), row.get("greedy")
    return [*(found if isinstance(found, list) else []), *([] if greedy is None else [greedy])]


def _fits(node: Any, form: Mapping[str, Any], where: str) -> None:
    if not isinstance(node, dict):
        raise ValueError(f"{where} is {str(node)[:40]!r}; expected an object of rrl-eval")
    for name, hint in form.items():
        if name not in node:
            raise ValueError(f"{where} has no {name}; expected an object of rrl-eval")
        fit(node[name], hint, f"{where}: {name}")
