"""The review page as a person uses it, in a real browser: keys, filters, what survives, what comes out."""

from __future__ import annotations

import hashlib
import json
import re
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rrl.report.load import Run
from rrl.report.review_page import review_page, review_section
from rrl.report.run_report import _vetting
from tests.browser import PHONE, WIDE, open_page, overflow

NASTY = '<script>window.ran = 1</script><img src=x onerror="window.ran = 2"></script><!--<b>bold</b>'
ESCAPES = "red \x1b[31m and \u202eback\ud800"


def a_row(number: int) -> dict[str, Any]:
    """Row n: task by parity, value n/2000, uses n % 10, harm (n % 100) - 50."""
    return {
        "key": hashlib.sha256(str(number).encode()).hexdigest()[:16], "problem": f"p{number}", "prompt": f"Q{number}: ",
        "prefix": f"step {number}\nthen", "task": ("even", "odd")[number % 2], "value": number / 2000,
        "uses": number % 10, "wins": 0, "harm": float(number % 100 - 50), "born_step": number, "status": "open",
        "origin": "rollout", "decision": "",
    }  # fmt: skip


def written(folder: Path, rows: list[dict[str, Any]], **more: Any) -> Path:
    path = folder / "review.html"
    path.write_text(review_page(rows, **{"title": "rrl, seed 0", "run": "a-run", **more}), encoding="utf-8")
    return path


KEYS = [a_row(n)["key"] for n in range(2000)]


@pytest.fixture(scope="module")
def big(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [a_row(n) for n in range(2000)]
    rows[1] |= {"prefix": NASTY, "prompt": ESCAPES, "problem": NASTY}
    rows[3]["decision"] = "rejected"   # by the run's own file
    return written(tmp_path_factory.mktemp("page"), rows, note="2,000 states")


@pytest.fixture
def opened(big: Path) -> Iterator[Any]:
    with open_page(big, WIDE) as (page, errors):
        yield page
        assert errors == []


def shown(page: Any) -> int:
    return int(page.inner_text("[data-is=counts]").split(" of ")[0])


def decisions(path: str | Path) -> dict[str, str]:
    lines = [json.loads(line) for line in Path(path).read_text().splitlines()]
    assert all(line.keys() == {"key", "decision"} for line in lines)
    return {line["key"]: line["decision"] for line in lines}


def downloaded(page: Any, press: str) -> dict[str, str]:
    with page.expect_download() as started:
        page.keyboard.press(press)
    assert started.value.suggested_filename == "review.jsonl"
    return decisions(started.value.path())


def heading(page: Any) -> str:
    return str(page.inner_text("[data-is=problem]"))


def test_keys_decide_and_the_file_has_what_was_decided_also_after_a_reload(opened: Any) -> None:
    page = opened
    for key in "arfja":        # p0 approved, p1 rejected, p2 flagged, p3 passed over, p4 approved
        page.keyboard.press(key)
    expected = dict(zip([KEYS[0], KEYS[1], KEYS[2], KEYS[3], KEYS[4]],
                        ["approved", "rejected", "flagged", "rejected", "approved"], strict=True))
    assert heading(page) == "p5" and downloaded(page, "s") == expected
    page.reload()
    assert "2 approved \u00b7 2 rejected \u00b7 1 flagged \u00b7 1995 undecided" in page.inner_text("[data-is=counts]")
    assert downloaded(page, "s") == expected
    page.keyboard.press("k")   # there is nothing above the first
    page.keyboard.press("u")   # the first one is undecided again
    page.keyboard.press("n")
    assert heading(page) == "p5"
    page.keyboard.press("r")
    page.keyboard.press("z")   # that was a slip
    assert heading(page) == "p5" and downloaded(page, "s") == {k: v for k, v in expected.items() if k != KEYS[0]}


def test_buttons_do_what_keys_do_and_all_that_is_shown_can_be_decided_at_once(opened: Any) -> None:
    page = opened
    page.click("[data-decision=approved]")
    page.click("[data-decision=flagged]")
    page.click(".row:has-text('p7')")
    assert heading(page) == "p7"
    page.click("[data-decision=rejected]")
    assert page.get_attribute(".row:has-text('p7') >> nth=0", "class") == "row rejected"
    page.select_option("[name=task]", "even")
    page.fill("[name='value from']", "0.99")
    assert shown(page) == 10
    page.click("[data-all=approved]")
    assert "z takes it back" in page.inner_text("[data-is=said]")
    many = downloaded(page, "s")
    assert {k for k, v in many.items() if v == "approved"} == {KEYS[0], *(KEYS[n] for n in range(1980, 2000, 2))}
    page.keyboard.press("z")
    assert downloaded(page, "s") == {KEYS[0]: "approved", KEYS[1]: "flagged", KEYS[3]: "rejected", KEYS[7]: "rejected"}


def test_filters_are_by_task_value_uses_harm_text_and_decision(opened: Any) -> None:
    page = opened

    def with_filter(**values: str) -> int:
        page.click("[data-is=clear]")
        for name, value in values.items():
            field = page.locator(f"[name='{name.replace('_', ' ')}']")
            field.select_option(value) if name in ("task", "decision", "status", "order") else field.fill(value)
        return shown(page)

    assert with_filter() == 2000
    assert with_filter(task="odd") == 1000
    assert with_filter(value_from="0.5", value_to="0.75") == 501
    assert with_filter(uses_from="8") == 400
    assert with_filter(harm_from="40", harm_to="45", task="even") == 60
    assert with_filter(find="Q12: ") == 1
    assert with_filter(decision="rejected") == 1 and heading(page) == "p3"
    assert with_filter(decision="undecided", find="step 11") == 111
    page.locator("[name=find]").blur()
    page.keyboard.press("a")   # what is decided leaves the list of the undecided, and the next one stands there
    assert shown(page) == 110 and heading(page) == "p110"
    assert with_filter(order="harm down", uses_from="9") == 200 and heading(page) == "p99"
    assert with_filter(find="nowhere at all") == 0
    assert page.is_visible("text=No state is as the filters ask.")
    page.locator("[name=find]").blur()
    page.keyboard.press("a")   # nothing is there to approve


def test_text_of_a_model_is_shown_and_never_run(opened: Any) -> None:
    page = opened
    page.keyboard.press("j")
    assert page.inner_text("[data-is=prefix]") == NASTY and heading(page) == NASTY
    assert page.inner_text("[data-is=prompt]") == "red \u241b[31m and \\u202eback?"
    page.wait_for_timeout(100)
    assert page.evaluate("window.ran") is None
    assert page.evaluate("document.querySelectorAll('img, b, section script:not([type])').length") == 0


def test_two_thousand_states_stay_fluid(opened: Any) -> None:
    page = opened
    spent = page.evaluate(
        """async () => {
        const frame = () => new Promise(done => requestAnimationFrame(() => setTimeout(done)));
        const find = document.querySelector('[data-is=find]'), spent = [];
        for (const word of ['step 1', 'step 12', 'step 1', '']) {
          const begin = performance.now();
          find.value = word;
          find.dispatchEvent(new Event('input'));
          document.body.dispatchEvent(new KeyboardEvent('keydown', { key: 'a', bubbles: true }));
          await frame();
          spent.push(performance.now() - begin);
        }
        return spent;
    }"""
    )
    print("filter, key press and frame, ms:", [round(ms, 1) for ms in spent])
    assert statistics.median(spent) < 100
    assert page.locator(".row").count() < 60
    page.keyboard.press("End")
    assert heading(page) == "p1999" and page.is_visible(".row.here")


def test_a_file_is_written_and_read_where_the_browser_can(opened: Any, tmp_path: Path) -> None:
    page = opened
    page.evaluate(
        """() => {
        const write = async text => { window.took = (window.took || 0) + 1; window.text = text; };
        const createWritable = async () => ({ write, close: async () => {} });
        window.showSaveFilePicker = async () => ({ name: 'picked.jsonl', createWritable });
    }"""
    )
    page.keyboard.press("a")
    page.click("[data-is=write]")
    page.wait_for_function("window.took === 1")
    assert "2 decisions written to picked.jsonl" in page.inner_text("[data-is=said]")
    page.keyboard.press("f")
    page.keyboard.press("s")   # goes on into the same file
    page.wait_for_function("window.took === 2")
    assert len(page.evaluate("window.text").splitlines()) == 3
    (tmp_path / "review.jsonl").write_text(
        f'{{"key": "{KEYS[9]}", "decision": "approved"}}\n{{"key": "{KEYS[0]}", "decision": "flagged"}}\nhalf a li\n'
    )
    page.set_input_files("[data-is=file]", tmp_path / "review.jsonl")
    page.wait_for_function("document.querySelector('[data-is=said]').textContent.includes('2 decisions read')")
    assert "1 lines are of no state here" in page.inner_text("[data-is=said]")
    page.keyboard.press("s")
    page.wait_for_function("window.took === 3")
    last = {line["key"]: line["decision"] for line in map(json.loads, page.evaluate("window.text").splitlines())}
    assert (last[KEYS[0]], last[KEYS[1]], last[KEYS[9]]) == ("flagged", "flagged", "approved")


def test_on_a_telephone_nothing_is_wider_than_the_screen_and_thumbs_reach_the_buttons(big: Path) -> None:
    with open_page(big, PHONE) as (page, errors):
        for _ in range(2):
            assert overflow(page) <= 0
            for button in page.locator(".decide button:visible").all():
                box = button.bounding_box()
                assert box["height"] >= 44 and box["x"] >= 0 and box["x"] + box["width"] <= PHONE
                assert box["y"] + box["height"] <= 900
            page.click("summary")   # the filters unfold
        page.click("[data-decision=rejected]")
        assert "2 rejected" in page.inner_text("[data-is=counts]")
        assert errors == []


def test_runs_keep_their_decisions_apart_and_a_part_of_another_page_takes_keys_only_in_itself(tmp_path: Path) -> None:
    rows = [{"key": key, "prefix": "x"} for key in KEYS[:3]]   # all that a table of prefixes must have
    section = review_section(rows, run="another-run")
    path = tmp_path / "gallery.html"
    path.write_text(f"<!doctype html><meta charset=utf-8><body><h1 tabindex=0>gallery</h1>{section}</body>")
    with open_page(path, WIDE) as (page, errors):
        page.keyboard.press("a")
        assert page.inner_text("[data-is=counts]").endswith("3 undecided")
        page.click(".row >> nth=1")
        page.focus("[data-is=list]")
        page.keyboard.press("a")
        assert page.inner_text("[data-is=counts]").endswith("2 undecided")
        assert [page.locator(f"[name='{name} from']").count() for name in ("value", "uses", "harm")] == [0, 0, 0]
        assert downloaded(page, "s") == {KEYS[1]: "approved"}
        assert errors == []


def test_the_page_is_one_file_that_lets_nothing_in_or_out(big: Path) -> None:
    whole = big.read_text()
    assert not re.search(r'(src|href)="(?!data:)', whole) and not re.search("https?://", whole)
    assert "default-src 'none'" in whole and whole.count("<script") == 2 and NASTY not in whole
    assert "&lt;b&gt;" in review_page([], title="<b>", run="r")


def test_decisions_on_states_that_are_gone_stand_in_what_is_saved(tmp_path: Path) -> None:
    gone, other = "0" * 16, "f" * 16
    page_of = written(tmp_path, [a_row(0)], decided={gone: "rejected", KEYS[0]: "flagged"})
    (tmp_path / "review.jsonl").write_text(f'{{"key": "{other}", "decision": "approved"}}\n')
    with open_page(page_of, WIDE) as (page, errors):
        page.keyboard.press("a")
        page.set_input_files("[data-is=file]", tmp_path / "review.jsonl")
        page.wait_for_function("document.querySelector('[data-is=said]').textContent.includes('0 decisions read')")
        assert downloaded(page, "s") == {gone: "rejected", KEYS[0]: "approved", other: "approved"}
        assert errors == []


def test_the_section_of_a_report_shows_what_was_decided_before_and_keeps_the_rest(tmp_path: Path) -> None:
    gone = "0" * 16
    lines = [{"key": KEYS[0], "decision": "flagged"}, {"key": gone, "decision": "rejected"}]
    (tmp_path / "review.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"key": "to')
    prefixes = tuple({"key": key, "text": "x"} for key in KEYS[:2])
    run = Run(folder=tmp_path, summary={}, records=(), prefixes=prefixes, turned=(), config="", notes=())
    (tmp_path / "report.html").write_text(_vetting(run, tmp_path))
    with open_page(tmp_path / "report.html", WIDE) as (page, _):
        assert "0 approved \u00b7 0 rejected \u00b7 1 flagged \u00b7 1 undecided" in page.inner_text("[data-is=counts]")
        page.focus("[data-is=list]")
        assert downloaded(page, "s") == {gone: "rejected", KEYS[0]: "flagged"}
