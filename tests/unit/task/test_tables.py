import json

import pytest

from rrl.task.data.sources import parse_hub, records
from rrl.task.data.tables import Tables
from tests.unit.task.text import question, tables, write


def read(data, num_heldout=0):
    return data.read(seed=0, num_train=0, num_heldout=num_heldout)


def test_a_calculator_annotation_is_taken_out_and_the_answer_cut_off(tmp_path):
    path = write(tmp_path / "a.jsonl", [question("3*4?", " 12 ", "It is 3*4=<<3*4=12>>12.")])
    train, _ = read(tables([path], [path]))
    (row,) = train.rows
    assert (row.prompt, row.answer, row.solution) == ("3*4?", "12", "It is 3*4=12.") and row.where == f"{path}:1"


def test_fields_may_lie_inside_lists_and_objects_and_answers_may_be_numbers(tmp_path):
    path = write(tmp_path / "a.jsonl", [{
        "prompt": [{"role": "user", "content": "1+1?"}], "reward_model": {"ground_truth": 2}, "level": 5}])  # fmt: skip
    fields = {"prompt": "prompt.0.content", "answer": "reward_model.ground_truth", "solution": None, "remove": None,
              "answer_after": None, "level": "level", "hard_levels": ("Level 5", "5")}  # fmt: skip
    (row,) = read(Tables(train=(path,), heldout=(path,), **fields))[0].rows
    assert (row.prompt, row.answer, row.solution, row.hard) == ("1+1?", "2", None, True)


def test_a_boxed_answer_is_cut_out_of_the_solution_which_keeps_it(tmp_path):
    path = write(tmp_path / "a.jsonl", [
        {"problem": "?", "solution": r"So $\boxed{\frac{1}{2}}$.", "level": "Level 1"},
        {"problem": "?", "solution": "no box", "level": "Level 1"}])  # fmt: skip
    data = tables([path], [path], prompt="problem", answer="solution", solution="solution", answer_after="boxed",
                  level="level", hard_levels=("Level 5",))  # fmt: skip
    table = read(data)[0]
    (row,) = table.rows
    assert (row.answer, row.solution, row.hard) == (r"\frac{1}{2}", r"So $\boxed{\frac{1}{2}}$.", False)
    assert [(b.where, b.why) for b in table.bad] == [(f"{path}:2", r"holds no \boxed{} in 'solution'")]


def test_rows_held_out_by_hash_are_the_same_whatever_the_order_of_the_file(tmp_path):
    rows = [question(f"{i}?", i) for i in range(40)]
    one, two = write(tmp_path / "one.jsonl", rows), write(tmp_path / "two.jsonl", rows[::-1])
    split = [read(tables([path]), num_heldout=8) for path in (one, two)]
    held = [{row.answer for row in heldout.rows} for _, heldout in split]
    assert held[0] == held[1] and len(held[0]) == 8 and len(split[0][0].rows) == 32
    assert not held[0] & {row.answer for row in split[0][0].rows}
    with pytest.raises(ValueError, match=r"task\.num_heldout is 0 without task\.data\.heldout; expected 1\.\.39"):
        read(tables([one]))


@pytest.mark.parametrize("kind", ["json", "jsonl", "parquet", "hub"])
def test_the_same_rows_come_from_every_kind_of_file(tmp_path, kind):
    rows = [question("1?", 1), question("2?", 2)]
    folder = tmp_path / "set"
    folder.mkdir()
    if kind == "parquet":
        import pyarrow
        import pyarrow.parquet

        path = folder / "train.parquet"
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    elif kind == "json":
        path = folder / "train.json"
        path.write_text(json.dumps(rows))
    else:
        path = folder / "train.jsonl"
        write(path, rows)
    # What the hub has is what a folder has: datasets loads both.
    source = f"hub://{folder}?split=train" if kind == "hub" else str(path)
    found = list(records(source, "task.data.train"))
    assert [content for _, content in found] == rows
    assert all(where.startswith(source) and where.endswith(str(i)) for i, (where, _) in enumerate(found, start=1))


def test_files_of_the_package_are_found_by_its_name():
    found = list(records("pkg://rrl.task.samples/gsm8k_train.jsonl", "task.data.train"))
    assert len(found) == 20 and found[0][0] == "pkg://rrl.task.samples/gsm8k_train.jsonl:1"
    with pytest.raises(ValueError, match="there is no package 'rrl.nowhere'"):
        list(records("pkg://rrl.nowhere/a.jsonl", "task.data.train"))


@pytest.mark.parametrize(("name", "content", "words"), [
    ("a.txt", b"", "expected a name that ends in one of: .jsonl, .json, .parquet"),
    ("a.json", b"{}", "holds a dict; expected a list of objects"),
    ("a.json", b"[", "which is not JSON"),
    ("a.parquet", b"no", "which is not a Parquet file"),
])  # fmt: skip
def test_a_source_that_cannot_be_read_is_refused_by_key_and_name(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=words) as error:
        list(records(str(tmp_path / name), "task.data.train"))
    assert "task.data.train has" in str(error.value) and name in str(error.value)


def test_a_missing_file_says_what_a_source_may_be():
    with pytest.raises(ValueError, match=r"task\.data\.train has 'no\.jsonl', which is not a file; expected a \.jsonl"):
        list(records("no.jsonl", "task.data.train"))


def test_without_the_hub_the_key_and_the_local_way_are_named(monkeypatch):
    datasets_config = pytest.importorskip("datasets.config")
    monkeypatch.setattr(datasets_config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ValueError) as error:
        list(records("hub://openai/no-such-set?split=train", "task.data.train"))
    message = str(error.value)
    assert "task.data.train has 'hub://openai/no-such-set?split=train', which cannot be loaded" in message
    assert "task.data.train=[<file>.jsonl]" in message and "\n" not in message


def test_the_parts_of_a_hub_source():
    assert parse_hub("hub://a/b@1?config=c&split=train", "k") == ("a/b", "c", "1", "train", None)
    assert parse_hub("hub://a/b?split=test", "k") == ("a/b", None, None, "test", None)
    assert parse_hub("hub://a/b?data_dir=d&split=test", "k")[4] == "d"
    for source in ("hub://a/b", "hub://?split=train", "hub://a/b?split=x&name=y"):
        with pytest.raises(ValueError, match="expected hub://"):
            parse_hub(source, "k")


@pytest.mark.parametrize(("changes", "words"), [
    ({"train": ()}, r"task\.data\.train is empty"),
    ({"remove": "("}, r"task\.data\.remove is '\('; expected a regular expression"),
    ({"level": "level"}, r"task\.data\.level is 'level' with hard_levels \(\)"),
])  # fmt: skip
def test_impossible_arguments_are_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        tables(**({"train": ("a.jsonl",)} | changes))
