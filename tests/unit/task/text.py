"""A text task from a few rows."""

import json

from rrl.codec.byte import ByteCodec
from rrl.ranks import Ranks
from rrl.task.data.tables import Tables
from rrl.task.grade.number import NumberGrader
from rrl.task.text import TextTask

FIELDS = {
    "prompt": "question", "answer": "answer", "solution": "answer", "answer_after": "####", "remove": "<<[^<>]*>>",
    "level": None, "hard_levels": (),
}  # fmt: skip


def write(path, rows):
    """JSON lines; a row that is text is written as it stands."""
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return str(path)


def question(text, answer, why="Because."):
    return {"question": text, "answer": f"{why}\n#### {answer}"}


def tables(train, heldout=(), **changes):
    return Tables(train=tuple(train), heldout=tuple(heldout), **(FIELDS | changes))


def text_task(folder, train, heldout=None, data=None, **changes):
    """``train`` and ``heldout``: rows, written to files in ``folder``."""
    if data is None:
        held = [] if heldout is None else [write(folder / "heldout.jsonl", heldout)]
        data = tables([write(folder / "train.jsonl", train)], held)
    arguments = {
        "seed": 0, "codec": ByteCodec(), "ranks": Ranks(), "output_dir": folder, "name": "sums", "data": data,
        "grader": NumberGrader(marks=("####",)), "prompt": "{prompt}", "num_train": 0, "num_heldout": 0,
        "max_prompt": 64, "max_response": 64, "step_apart": 1, "bad_rows": "refuse",
    }  # fmt: skip
    return TextTask(**(arguments | changes))
