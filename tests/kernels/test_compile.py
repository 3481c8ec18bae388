"""Every Triton kernel, in the configurations it is launched with, compiles to sound code for GPUs that are not here."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from tests.kernels.compiling import facts_of

ROOT = Path(__file__).parents[2]
FILES = sorted(p for p in (ROOT / "kernels/rrl_kernels").rglob("*triton*.py"))
MODULES = [".".join(p.relative_to(ROOT / "kernels").with_suffix("").parts) for p in FILES]
NVIDIA = ("sm_80", "sm_90", "sm_100")

pytest.importorskip("triton")


def _check(subtests, module, archs, *, every):
    found = facts_of(module, archs, every=every)
    text = (ROOT / "kernels" / f"{module.replace('.', '/')}.py").read_text()
    kernels = set(re.findall(r"^def (\w+_kernel)\(", text, re.MULTILINE))
    assert kernels
    assert {f.kernel for f in found} == kernels, "every kernel needs a compile case"
    for facts in found:
        with subtests.test(case=facts.case, arch=facts.arch, aligned=facts.aligned):
            assert facts.faults() == []


@pytest.mark.parametrize("module", MODULES)
def test_kernels_compile_for_every_nvidia_gpu_without_spills_or_float64(module, subtests):
    _check(subtests, module, NVIDIA, every=False)


@pytest.mark.parametrize("module", MODULES)
def test_kernels_compile_where_every_size_is_one(module):
    assert [facts.error for facts in facts_of(module, ["sm_90"], every=False, ones=True) if facts.error] == []


@pytest.mark.slow
@pytest.mark.parametrize("module", MODULES)
def test_every_tuned_configuration_compiles_for_every_gpu(module, subtests):
    _check(subtests, module, (*NVIDIA, "gfx942"), every=True)


def test_unsound_code_is_refused_and_sound_code_is_not():
    found = {f.case: f for f in facts_of("tests.kernels.bad_kernels", ["sm_90"], every=True) if f.aligned}
    assert found["good"].faults() == []
    expected = {
        "float64": "computes in float64",
        "spills": "bytes of registers to memory",
        "too much shared memory": "bytes of shared memory; sm_90 has 227 KiB",
        "product without wgmma": "without wgmma",
        "unknown name": "undefined is not defined",
    }
    assert expected.keys() | {"good"} == found.keys()
    for case, words in expected.items():
        (fault,) = found[case].faults()
        assert words in fault, case
    older = replace(found["product without wgmma"], arch="sm_80")  # which has no wgmma
    assert older.faults() == []
