import pytest

from rrl.report.summary import print_summary, summary_rows


def test_a_measurement_on_the_edge_of_the_tolerance_is_ok_and_beyond_it_is_outside():
    rows = summary_rows({"a": 0.83, "b": 0.82}, {"a": [0.93, 0.1], "b": [0.93, 0.1], "c": [1.0, 0.1]})
    assert [r.verdict for r in rows] == ["ok", "outside", "not measured"]
    assert rows[0].expected_text == "0.93 \u00b1 0.1"
    assert rows[2].measured_text == "-"


def test_usual_metrics_fill_the_table_up_to_eight_rows():
    final = {"eval/hard_success": 0.9, "eval/capability": 0.95, "time/tokens_per_s": 15_000.4, "learn/loss": 1.0}
    rows = summary_rows(final, {f"eval/x{i}": [0, 1] for i in range(6)})
    assert [r.metric for r in rows][6:] == ["eval/hard_success", "eval/capability"]
    assert rows[6].verdict == ""
    assert summary_rows(final, {})[-1].measured_text == "15,000"


def test_an_expectation_without_a_tolerance_is_refused():
    with pytest.raises(ValueError, match=r"expected.a is \[1\]"):
        summary_rows({"a": 1.0}, {"a": [1]})


def test_the_printed_summary_ends_with_the_next_command(capsys, tmp_path):
    summary = {"name": "rrl", "seed": 3, "status": "finished", "steps": 207, "sampled_tokens": 140_012, "seconds": 25.2,
               "final": {"eval/hard_success": 0.931}, "expected": {"eval/hard_success": [0.93, 0.1]}}  # fmt: skip
    print_summary(summary, notes=["a file is torn"], next_command="rrl-eval checkpoint=x", report=tmp_path / "r.html")
    out = capsys.readouterr().out
    assert out.splitlines()[0] == "rrl, seed 3: finished after 207 steps, 140,012 sampled tokens, 25 s"
    assert "0.931" in out
    assert "0.93 \u00b1 0.1" in out
    assert "ok" in out
    assert out.splitlines()[-3] == "note: a file is torn"
    assert out.splitlines()[-1] == "next command: rrl-eval checkpoint=x"
