"""Rows of samples.jsonl and evaluation folders, short enough to redo their figures by hand."""

from __future__ import annotations

import json
from pathlib import Path


def response(solved, score=None, *, tokens=4, ended=True, text="said", **more):
    return {"text": text, "tokens": tokens, "ended": ended, "solved": bool(solved),
            "score": float(solved) if score is None else score, **more}  # fmt: skip


def row(name, solved, *, difficulty="hard", greedy=None, answer="7", prompt="asked", scores=None, **more):
    """solved: one 0 or 1 a response."""
    given = [None] * len(solved) if scores is None else scores
    responses = [response(s, x, **more) for s, x in zip(solved, given, strict=True)]
    return {"problem": name, "difficulty": difficulty, "prompt": prompt, "answer": answer, "dropped": False,
            "responses": responses, "greedy": None if greedy is None else response(greedy, **more)}  # fmt: skip


def dropped(name):
    return {"problem": name, "difficulty": "hard", "prompt": "asked", "answer": "7", "dropped": True, "responses": [],
            "greedy": None}  # fmt: skip


def write_evaluation(folder: Path, rows, *, k=(1, 2), num_problems=None, **changes):
    """A folder as rrl-eval leaves it before it is reported."""
    folder.mkdir(parents=True)
    request = {"task": "sums", "task_fingerprint": "f0", "split": "heldout", "seed": 0, "weights": "w0",
               "num_problems": num_problems or len(rows), "num_samples": len(rows[0]["responses"])}  # fmt: skip
    record = {"status": "unfinished", "name": "arm, seed 0", "checkpoint": None, "step": 3, "temperature": 1.0,
              "metrics": {}, "k": list(k), "request": request, "command": "rrl-eval", "commit": "-", "versions": {},
              "device": "cpu"}  # fmt: skip
    (folder / "eval.json").write_text(json.dumps(record | changes))
    (folder / "samples.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    return folder
