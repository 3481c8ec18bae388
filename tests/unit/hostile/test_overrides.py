"""Whatever is typed behind rrl-train: a config that passes, or an error that becomes one line."""

from __future__ import annotations

import pytest
from hydra import compose, initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from rrl import build
from rrl.cli import check_choices, explain
from rrl.ranks import Ranks

HOSTILE = ["nan", "inf", "-inf", "1e999", "-1", "0", "10000000000000000000000000", "null", "true", "[]", "[1", "{a:b}",
           "{}", "''", "'", '"', "${x}", "${oc.env:NO_SUCH}", "${oc.decode:1+}", "os.system", "\\", "\x00",
           "\U0001f600", "a b", "=", "???", "[[[[]]]]", "0x10", "1_0", "..", "/", "${", "${seed}"]   # fmt: skip


def leaves(node: DictConfig, prefix: str = "") -> list[str]:
    found = [prefix] if prefix else []
    for key in node:
        name = f"{prefix}.{key}" if prefix else str(key)
        child = OmegaConf.to_container(node, resolve=False)[key]   # type: ignore[index, call-overload]
        found += leaves(node[key], name) if isinstance(child, dict) else [name]
    return found


@pytest.fixture(scope="module")
def keys() -> list[str]:
    GlobalHydra.instance().clear()
    with initialize_config_module("rrl.conf", version_base="1.3"):
        return leaves(compose("train"))


def outcome(argv: list[str]) -> str:
    """"" where the config passes, else the one line that the command says."""
    GlobalHydra.instance().clear()
    try:
        check_choices(argv)
        with initialize_config_module("rrl.conf", version_base="1.3"):
            cfg = compose("train", argv)
        build.validate(cfg, Ranks())
    except (HydraException, OmegaConfBaseException, ValueError) as error:   # what ``speak`` catches
        return explain(error, "train", argv)
    return ""


def check(argv: list[str]) -> None:
    said = outcome(argv)
    assert "\n" not in said and "Traceback" not in said and len(said) < 3000


@settings(max_examples=20)
@given(data=st.data())
def test_any_value_of_any_key_passes_or_is_one_line(keys: list[str], data: st.DataObject) -> None:
    key = data.draw(st.sampled_from(keys))
    check([f"{data.draw(st.sampled_from(['', '+', '++', '~']))}{key}={data.draw(st.sampled_from(HOSTILE))}"])


@settings(max_examples=25)
@given(text=st.text(st.characters(codec="utf-8"), min_size=1, max_size=12))
def test_any_text_is_one_line(text: str) -> None:
    check([text])


@pytest.mark.slow
@settings(max_examples=1500)
@given(data=st.data())
def test_any_two_values_pass_or_are_one_line(keys: list[str], data: st.DataObject) -> None:
    check([f"{data.draw(st.sampled_from(keys))}={data.draw(st.sampled_from(HOSTILE))}" for _ in range(2)])


@pytest.mark.parametrize("argument", ["tracker=[[jsonl],console]", "+replay/filter=[[[[]]]]"])
def test_a_list_in_a_list_of_options_is_one_line(argument: str) -> None:
    assert outcome([argument]).startswith(f"{argument}: expected an option of ")


@pytest.mark.parametrize(("value", "shown"), [("nan", "nan"), (".nan", "'.nan'"), ("1e", "'1e'"), ("true", "True")])
def test_what_is_no_number_is_refused(value: str, shown: str) -> None:
    assert outcome([f"replay.store.kappa={value}"]) == f"replay.store.kappa is {shown}; expected a number"
