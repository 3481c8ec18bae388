"""Compiles Triton kernels for GPUs that are not here, and says what is wrong with the code that came out.

A process of its own, so that it never meets a triton that interprets: whether a kernel is interpreted is decided
when its module is imported.

    python -m tests.kernels.compiling rrl_kernels.scan.triton_impl sm_80 sm_90 [--all | --ones] > facts.json
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]

# Shared memory that one block may have, KiB (CUDA C++ Programming Guide, "Technical Specifications per Compute
# Capability": 163 for 8.0, 227 for 9.0 and 10.0; MI300: 64 KiB of LDS).
SHARED_KIB = {"sm_80": 163, "sm_90": 227, "sm_100": 227, "gfx942": 64}


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Of one kernel for one GPU.

    aligned: addresses and sizes are multiples of 16, as those of whole tensors mostly are; triton compiles such calls
    apart.  error: what the compiler said ("" = it compiled).  instructions: of interest, seen.
    """

    case: str
    kernel: str
    arch: str
    aligned: bool
    error: str
    registers: int
    spilled_bytes: int
    shared_bytes: int
    instructions: list[str]
    uses_wgmma: bool

    def faults(self) -> list[str]:
        """Why this code must not ship; empty for good code."""
        if self.error:
            return [f"does not compile: {self.error}"]
        found = []
        if self.spilled_bytes:
            found.append(f"spills {self.spilled_bytes} bytes of registers to memory")
        if self.shared_bytes > SHARED_KIB[self.arch] * 1024:
            limit = SHARED_KIB[self.arch]
            found.append(f"needs {self.shared_bytes} bytes of shared memory; {self.arch} has {limit} KiB")
        if "f64" in self.instructions:
            found.append("computes in float64, at 1/2 to 1/64 of the speed of float32")
        if self.arch == "sm_90" and self.uses_wgmma and "wgmma" not in self.instructions:
            found.append("has a matrix product without wgmma, at half of Hopper's speed")
        return found


def facts_of(module: str, archs: Sequence[str], *, every: bool, ones: bool = False) -> list[Facts]:
    """Facts of a module's compile cases, found in a new process.

    every: all cases, for aligned and for odd addresses and sizes; else one case a kernel and set of options, aligned.
    ones: every size and stride is 1, which triton compiles as a constant.
    """
    chosen = ["--all"] * every + ["--ones"] * ones
    command = [sys.executable, "-m", "tests.kernels.compiling", module, *archs, *chosen]
    env = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed: {done.stderr[-2000:]}")
    return [Facts(**fact) for fact in json.loads(done.stdout)]


def representative(cases: Sequence[Any]) -> list[Any]:
    """Of each kernel and each choice of pointers and of true and false options, the last case: the largest sizes."""
    seen = {}
    for case in cases:
        flags = tuple(sorted((k, v) for k, v in case.constexprs.items() if v is None or isinstance(v, bool)))
        seen[case.kernel.__name__, flags] = case
    return list(seen.values())


def of_ones(case: Any) -> Any:
    """The case as triton compiles it where every whole number is 1."""
    names = [name for name, kind in case.signature.items() if kind in ("i32", "i64")]
    return replace(
        case, signature=case.signature | dict.fromkeys(names, "constexpr"),
        constexprs=case.constexprs | dict.fromkeys(names, 1),
    )  # fmt: skip


def compiled(case: Any, arch: str, *, aligned: bool) -> Facts:
    """Compile one case."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    amd = arch.startswith("gfx")
    target = GPUTarget("hip", arch, 64) if amd else GPUTarget("cuda", int(arch.removeprefix("sm_")), 32)
    options = {"num_warps": case.num_warps, "num_stages": case.num_stages}
    types = {name: case.signature[name] for name in case.kernel.arg_names}
    whole = ("i32", "i64")
    places = [i for i, t in enumerate(types.values()) if aligned and (t.startswith("*") or t in whole)]
    attrs = {(i,): [["tt.divisibility", 16]] for i in places}
    source = ASTSource(fn=case.kernel, signature=types, constexprs=case.constexprs, attrs=attrs)
    names: dict[str, Any] = {"case": case.name, "kernel": case.kernel.__name__, "arch": arch, "aligned": aligned}
    nothing: dict[str, Any] = {"registers": 0, "spilled_bytes": 0, "shared_bytes": 0, "instructions": []}
    try:
        binary = triton.compile(source, target=target, options=options)
    except Exception as error:  # noqa: BLE001 - whatever the compiler says is the finding
        return Facts(**names, **nothing, error=f"{type(error).__name__}: {error}"[-1500:], uses_wgmma=case.uses_wgmma)
    text = binary.asm["amdgcn" if amd else "ptx"]
    registers, spilled = _registers_amd(text) if amd else _registers(text, arch)
    patterns = {"f64": r"[._]f64\b", "wgmma": r"\bwgmma\.mma_async", "tma": r"cp\.async\.bulk\.tensor"}
    return Facts(
        **names, error="", registers=registers, spilled_bytes=spilled, shared_bytes=binary.metadata.shared,
        instructions=[name for name, pattern in patterns.items() if re.search(pattern, text)],
        uses_wgmma=case.uses_wgmma,
    )  # fmt: skip


def _registers(ptx: str, arch: str) -> tuple[int, int]:
    """(registers a thread, bytes spilled), as the wheel's ptxas says."""
    import triton

    folder = Path(triton.__file__).parent / "backends/nvidia/bin"
    newer = folder / "ptxas-blackwell"
    ptxas = newer if arch == "sm_100" and newer.exists() else folder / "ptxas"
    suffix = re.search(r"^\.target (sm_\w+)", ptx, re.MULTILINE)
    assert suffix, "PTX names no target"
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "kernel.ptx"
        file.write_text(ptx)
        out = str(file.with_suffix(".cubin"))
        command = [str(ptxas), "-v", "--regAllocOptLevel=2", f"--gpu-name={suffix[1]}", str(file), "-o", out]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    used = re.search(r"Used (\d+) registers", said)
    spilled = re.findall(r"(\d+) bytes spill (?:stores|loads)", said)
    assert used and spilled, f"ptxas -v said something new: {said}"
    return int(used[1]), sum(map(int, spilled))


def _registers_amd(text: str) -> tuple[int, int]:
    """(vector registers a thread, bytes spilled), from the metadata of the assembly."""
    spilled = re.findall(r"\.(?:vgpr|sgpr)_spill_count:\s*(\d+)", text)
    used = re.search(r"\.vgpr_count:\s*(\d+)", text)
    assert used and spilled, "the assembly holds no register counts"
    return int(used[1]), 4 * sum(map(int, spilled))


def main() -> None:
    """Print facts as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("module")
    parser.add_argument("archs", nargs="+", choices=list(SHARED_KIB))
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--ones", action="store_true")
    args = parser.parse_args()
    cases = importlib.import_module(args.module).compile_cases()
    chosen = cases if args.all else representative(cases)
    chosen = [of_ones(case) for case in chosen] if args.ones else chosen
    kinds = (True, False) if args.all else (True,)
    facts = [compiled(case, arch, aligned=a) for case in chosen for arch in args.archs for a in kinds]
    print(json.dumps([asdict(fact) for fact in facts]))


if __name__ == "__main__":
    main()
