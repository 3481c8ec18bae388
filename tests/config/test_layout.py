"""The house's shape: what stands where, how long a module may be, and that every option file fits its class."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.config.tree import ROOT, files

CONF = ROOT / "conf"
SOURCES = sorted((ROOT / "rrl").rglob("*.py"))
PLUGINS = sorted((ROOT / "sweeps" / "hydra_plugins").rglob("*.py"))
KERNELS = sorted((ROOT / "kernels" / "rrl_kernels").rglob("*.py"))
LONGEST = 250

# Whole configs and Hydra's own groups: they choose options and are none themselves.
NOT_OPTIONS = {"experiment", "setting", "model", "run", "hydra", "report"}
OPTIONS = sorted(p for p in CONF.glob("*/**/*.yaml") if p.relative_to(CONF).parts[0] not in NOT_OPTIONS)
OPTIONS += sorted((CONF / "hydra" / "launcher").glob("*.yaml"))   # our own launchers
DOCUMENTED_ROOMS = {"replay", "value", "objective", "task"}
DOCUMENTED = [p for p in OPTIONS if p.relative_to(CONF).parts[0] in DOCUMENTED_ROOMS and p.stem != "default"]


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), filename=str(path))


# ------------------------------------------------------------------------------------------ modules


@pytest.mark.parametrize("path", SOURCES + KERNELS + PLUGINS, ids=name_of)
def test_a_module_is_at_most_250_lines(path: Path) -> None:
    num_lines = len(path.read_text().splitlines())
    assert num_lines <= LONGEST, f"{name_of(path)} has {num_lines} lines; split it by idea"


def imports_of(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def test_triton_is_imported_in_rrl_kernels_only() -> None:
    elsewhere = [p for p in (*SOURCES, *(ROOT / "examples").rglob("*.py"))
                 if any(name.split(".")[0] == "triton" for name in imports_of(tree_of(p)))]
    assert not elsewhere, [name_of(p) for p in elsewhere]


def test_triton_is_imported_inside_functions_so_that_a_machine_without_it_can_import_the_package() -> None:
    early = [p for p in KERNELS for node in tree_of(p).body
             if isinstance(node, (ast.Import, ast.ImportFrom))
             and any(name.split(".")[0] == "triton" for name in imports_of(ast.Module([node], [])))
             and p.name in ("__init__.py", "api.py", "reference.py")]
    assert not early, [name_of(p) for p in early]


def test_instantiate_is_called_once_in_build() -> None:
    calls = [name_of(p) for p in SOURCES for node in ast.walk(tree_of(p))
             if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == "instantiate"]
    assert calls == ["rrl/build.py"]


def test_rrl_train_starts_without_torch() -> None:
    code = "import sys, rrl.train; print(sorted({'torch', 'transformers', 'wandb', 'matplotlib'} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"   # --help, --cfg job and completion stay under a second


# ------------------------------------------------------------------------------------------ masks


def words_of(identifier: str) -> set[str]:
    return set(re.split(r"_+", identifier.lower()))


MASK_WORDS = {"mask", "masks", "masked", "masking", "padded", "padding"}   # `pad` alone is a token id


def identifiers_bound_in(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """(line, identifier) of everything that a module gives a name to: variables, arguments, functions, fields."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.attr
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield node.lineno, node.name


def test_masks_and_padding_are_made_in_policy_layout_only() -> None:
    # rrl/policy may hand a layout's mask on to a model; every other room has the flat axis and needs none.
    found = [
        f"{name_of(p)}:{line}: {identifier}"
        for p in SOURCES
        if p.relative_to(ROOT).parts[:2] != ("rrl", "policy")
        for line, identifier in identifiers_bound_in(tree_of(p))
        if words_of(identifier) & MASK_WORDS
    ]
    advice = "name what the rows are (replayed, solved, open), or move it to rrl/policy/layout.py:"
    assert not found, "\n".join([advice, *found])


# ------------------------------------------------------------------------------------------ options


def nodes_of(content: Any) -> Iterator[dict[str, Any]]:
    """Every mapping with a _target_ in an option file, nested ones too."""
    if isinstance(content, dict):
        if "_target_" in content:
            yield content
        for child in content.values():
            yield from nodes_of(child)
    elif isinstance(content, list):
        for child in content:
            yield from nodes_of(child)


def class_of(node: dict[str, Any]) -> type:
    room, name = node["_target_"].rsplit(".", 1)
    cls: type = getattr(importlib.import_module(room), name)
    return cls


def parameters_of(cls: type) -> dict[str, inspect.Parameter]:
    """The constructor's parameters; a class without a constructor of its own has none."""
    if cls.__init__ is object.__init__:  # type: ignore[misc]
        return {}
    return dict(inspect.signature(cls).parameters)


def parts_of(path: Path) -> set[str]:
    """Sub-groups of an option's group, which composition hands in: replay/default gets store, cut, ..."""
    return {child.name for child in path.parent.iterdir() if child.is_dir()}


@pytest.mark.parametrize("path", OPTIONS, ids=name_of)
def test_an_option_is_a_target_with_all_its_arguments(path: Path) -> None:
    from rrl.build import RUNTIME

    nodes = list(nodes_of(yaml.safe_load(path.read_text())))
    assert nodes, "an option file is _target_ plus every argument"
    for node in nodes:
        wanted = parameters_of(class_of(node))
        short = getattr(class_of(node), "short_keys", ())  # read by deeper keys alone
        given = {key for key in node if key not in ("_target_", "defaults", *short)}
        assert given <= wanted.keys(), f"{node['_target_']} does not take {sorted(given - wanted.keys())}"
        left = wanted.keys() - given - set(RUNTIME) - parts_of(path)
        assert not left, f"{node['_target_']} also needs {sorted(left)}: not in the YAML, no runtime object"


@pytest.mark.parametrize("path", OPTIONS, ids=name_of)
def test_a_constructor_takes_keywords_without_defaults(path: Path) -> None:
    # A number lives in one YAML: a default in Python would be a second home.
    for node in nodes_of(yaml.safe_load(path.read_text())):
        cls_name = class_of(node).__name__
        for name, parameter in parameters_of(class_of(node)).items():
            assert parameter.kind is parameter.KEYWORD_ONLY, f"{cls_name}.{name} is not keyword-only"
            assert parameter.default is parameter.empty, f"{cls_name}.{name} has a default; its YAML is the place"
            assert parameter.annotation is not parameter.empty, f"{cls_name}.{name} has no annotation to check by"


@pytest.mark.parametrize("path", OPTIONS, ids=name_of)
def test_every_number_of_an_option_says_its_unit_and_reason(path: Path) -> None:
    bare = [line for line in path.read_text().splitlines()
            if re.match(r"[a-z]\w*:\s*[^\s#{\[]", line) and "#" not in line]
    assert not bare, f"no trailing comment: {bare}"


YAML_11_BOOLEANS = {"y", "n", "yes", "no", "on", "off", "true", "false"}


def keys_of(node: yaml.Node) -> Iterator[str]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield key.value
            yield from keys_of(value)
    elif isinstance(node, yaml.SequenceNode):
        for child in node.value:
            yield from keys_of(child)


@pytest.mark.parametrize("path", sorted(CONF.rglob("*.yaml")) + sorted((ROOT / "sweeps").rglob("*.yaml")), ids=name_of)
def test_no_key_or_option_is_a_yaml_boolean_and_no_key_stands_twice(path: Path) -> None:
    assert path.stem.lower() not in YAML_11_BOOLEANS
    root = yaml.compose(path.read_text())
    keys = list(keys_of(root)) if root is not None else []
    assert not YAML_11_BOOLEANS & {key.lower() for key in keys}
    if isinstance(root, yaml.MappingNode):
        top = [key.value for key, _ in root.value]
        assert len(top) == len(set(top)), f"a key stands twice in {name_of(path)}: the first one would be lost silently"


@pytest.mark.parametrize("path", DOCUMENTED, ids=name_of)
def test_an_option_has_a_row_in_its_rooms_readme(path: Path) -> None:
    room = path.relative_to(CONF).parts[0]
    readme = ROOT / "rrl" / room / "README.md"
    rows = [line for line in readme.read_text().splitlines() if line.startswith("|")]
    found = any(re.search(rf"`([\w/]+=)?{path.stem}`", row) for row in rows)
    assert found, f"{name_of(readme)} has no row `{path.stem}`"


# ------------------------------------------------------------------------------------------ package


def test_pyproject_lists_every_package() -> None:
    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    there = {".".join(p.parent.relative_to(ROOT).parts) for p in (ROOT / "rrl").rglob("__init__.py")}
    plugins = {"hydra_plugins", *(".".join(p.parent.relative_to(ROOT / "sweeps").parts) for p in PLUGINS)}
    mapped = {"rrl.conf", *plugins, *(".".join(p.parent.relative_to(ROOT / "kernels").parts)
                            for p in (ROOT / "kernels").rglob("rrl_kernels/**/__init__.py"))}
    assert listed == there | mapped


def test_hydra_plugins_is_a_namespace_that_other_peoples_plugins_share() -> None:
    assert PLUGINS and not (ROOT / "sweeps" / "hydra_plugins" / "__init__.py").exists()


def test_every_folder_of_modules_in_rrl_is_a_package() -> None:
    lost = {name_of(p.parent) for p in SOURCES if not (p.parent / "__init__.py").is_file()}
    assert not lost, f"no __init__.py in {sorted(lost)}: the wheel would not have them"


def test_the_kernels_folder_is_no_package() -> None:
    # A local package named `kernels` breaks transformers where the public one of that name is installed.
    assert not (ROOT / "kernels" / "__init__.py").exists()


def test_no_file_names_an_absolute_path_of_somebodys_machine() -> None:
    pattern = re.compile("(?<![\\w.$}])/(" + "|".join(("home", "Users", "work", "root", "tmp")) + ")/\\w")
    text = [p for p in files() if p.suffix in {".py", ".md", ".yaml", ".toml", ".txt", ".json", ".jsonl", ".html", ""}]
    found = [f"{name_of(p)}: {m.group()}" for p in text for m in pattern.finditer(p.read_text(errors="replace"))]
    assert not found, found
