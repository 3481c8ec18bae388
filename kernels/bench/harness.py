"""Benchmark library: cases with a floor and a truth, providers in interleaved rounds, one CSV row a figure.

A case is an operation at one size and mode; a provider is somebody's implementation of it. In every round every
provider runs once, in an order that rotates, so that a machine that warms up or is shared slows all of them alike.
Columns: ``COLUMNS``; what each holds: README.md beside this file.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import importlib.metadata
import platform
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from measure import Ceilings, ceilings, copies, errors, peak_mib, quantile, timed

Sample = Any
Outputs = dict[str, torch.Tensor]

COLUMNS = (
    "op", "mode", "size", "inputs", "dtype", "provider", "provider_version", "device_ms_p20", "device_ms_p50",
    "device_ms_p80", "call_ms_p50", "floor_ms", "floor_pct", "peak_mib", "max_abs_err", "rel_err", "rounds",
    "matmul_tflops", "copy_gbps", "device", "torch", "triton", "python", "commit", "date",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Provider:
    """One implementation of a case's operation.

    name: as it shall stand in tables.  call: sample -> outputs by name; this is what is timed. It imports its package
    itself, so that one that is not installed is left out.
    package: distribution whose version is recorded ("" = this repository, or plain torch).
    prepare: sample -> sample, not timed: a forward pass before a timed backward, a copy of what ``call`` overwrites.
    cuda_only: it has no path for a CPU.
    """

    name: str
    call: Callable[[Sample], Outputs]
    package: str = ""
    prepare: Callable[[Sample], Sample] = lambda sample: sample
    cuda_only: bool = False


@dataclass(frozen=True, kw_only=True)
class Case:
    """One operation at one size.

    op, mode ("forward", "backward" or "full"), size ("T=1024 H=576 V=49152"), inputs ("random" or "peaked"), dtype:
    columns.  sample: generator -> fresh inputs; called more than once where one set would fit a cache.
    sample_bytes: of one set.  flops, bytes: the least that any implementation must do; they give the floor.
    truth: sample -> outputs in float64, or None.  check: inputs to compare on where the case itself is too large for
    float64 (None = its own).
    """

    op: str
    mode: str
    size: str
    inputs: str
    dtype: str
    sample: Callable[[torch.Generator], Sample]
    sample_bytes: int
    flops: float
    bytes: float
    truth: Callable[[Sample], Outputs] | None
    check: Callable[[torch.Generator], Sample] | None = None


@dataclass(kw_only=True)
class Bench:
    """The machine, its ceilings (measured when made) and the rows so far; ``out``: CSV that grows with each case."""

    device: torch.device
    rounds: int
    warm_up: int
    out: Path
    seed: int = 0
    rows: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.ceilings: Ceilings = ceilings(self.device)
        self._machine = machine(self.device)

    def run(self, case: Case, providers: Sequence[Provider]) -> list[dict[str, Any]]:
        """Measure, print and keep one row a provider; for one that cannot run here, print why and keep none."""
        samples = [case.sample(self._generator(i)) for i in range(copies(case.sample_bytes))]
        rows: dict[str, dict[str, Any]] = {}
        able, waits = [], {}
        for provider in providers:
            try:
                if provider.cuda_only and self.device.type != "cuda":
                    raise NotImplementedError("needs a GPU")
                waits[provider.name] = self._warm(provider, samples)
                peak = self._peak(provider, samples[0])
            except (ImportError, torch.OutOfMemoryError, NotImplementedError, RuntimeError, ValueError) as error:
                reason = f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
                print(f"{_head(self._blank(case, provider))} left out: {reason}", flush=True)
                continue
            rows[provider.name] = self._blank(case, provider) | {"peak_mib": peak}
            able.append(provider)
        on_device: dict[str, list[float]] = {p.name: [] for p in able}
        whole: dict[str, list[float]] = {p.name: [] for p in able}
        for turn in range(self.rounds):
            for place in range(len(able)):
                provider = able[(place + turn) % len(able)]
                sample = samples[(turn + place) % len(samples)]
                whole[provider.name].append(self._time(provider, sample, 0.0)[1])
                if self.device.type == "cuda":
                    on_device[provider.name].append(self._time(provider, sample, waits[provider.name])[0])
                else:
                    on_device[provider.name].append(whole[provider.name][-1])
        for provider in able:
            self._fill(rows[provider.name], case, on_device[provider.name], whole[provider.name])
        self._compare(case, able, rows)
        for row in rows.values():
            print(shown(row), flush=True)
        self.rows += rows.values()
        self._write()  # now, so that a later case that dies or takes too long costs nothing but itself
        return list(rows.values())

    def _write(self) -> None:
        self.out.parent.mkdir(parents=True, exist_ok=True)
        with self.out.open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.rows)

    def _generator(self, number: int) -> torch.Generator:
        return torch.Generator(self.device).manual_seed(self.seed + number)

    def _warm(self, provider: Provider, samples: Sequence[Sample]) -> float:
        """Run a few times; seconds that the host needs to queue one call, with room to spare."""
        seconds = [self._time(provider, samples[i % len(samples)], 0.0)[1] for i in range(self.warm_up)]
        return min(0.1, 2.0 * seconds[-1])

    def _time(self, provider: Provider, sample: Sample, wait_s: float) -> tuple[float, float]:
        ready = provider.prepare(sample)
        on_device, whole, _ = timed(lambda: provider.call(ready), self.device, wait_s=wait_s)
        return on_device, whole

    def _peak(self, provider: Provider, sample: Sample) -> float:
        ready = provider.prepare(sample)
        return round(peak_mib(lambda: provider.call(ready), self.device), 1)

    def _fill(self, row: dict[str, Any], case: Case, on_device: list[float], whole: list[float]) -> None:
        floor = max(case.flops / (self.ceilings.tflops * 1e12), case.bytes / (self.ceilings.gbps * 1e9))
        middle = quantile(on_device, 0.5)
        row |= {f"device_ms_p{round(q * 100)}": _short(quantile(on_device, q) * 1e3) for q in (0.2, 0.5, 0.8)}
        row |= {"call_ms_p50": _short(quantile(whole, 0.5) * 1e3), "floor_ms": _short(floor * 1e3)}
        row |= {"floor_pct": round(100 * floor / middle, 1), "rounds": self.rounds}

    def _compare(self, case: Case, able: Sequence[Provider], rows: dict[str, dict[str, Any]]) -> None:
        if case.truth is None:
            return
        sample = (case.check or case.sample)(self._generator(0))
        truth = case.truth(sample)
        for provider in able:
            try:
                found = provider.call(provider.prepare(sample))
            except RuntimeError as error:  # one that ran at the case's size and fails at this one keeps its times
                print(f"{_head(rows[provider.name])} not compared: {' '.join(str(error).split())[:120]}", flush=True)
                continue
            absolute, relative = errors(found, truth)
            rows[provider.name] |= {"max_abs_err": f"{absolute:.1e}", "rel_err": f"{relative:.1e}"}

    def _blank(self, case: Case, provider: Provider) -> dict[str, Any]:
        own = {"op": case.op, "mode": case.mode, "size": case.size, "inputs": case.inputs, "dtype": case.dtype}
        limits = {"matmul_tflops": _short(self.ceilings.tflops), "copy_gbps": _short(self.ceilings.gbps)}
        maker = {"provider": provider.name, "provider_version": version(provider.package) if provider.package else ""}
        return dict.fromkeys(COLUMNS, "") | own | maker | limits | self._machine


def machine(device: torch.device) -> dict[str, str]:
    """Device, versions, commit and date, as columns."""
    threads = torch.get_num_threads()
    cpu = f"{_cpu_name()}, {threads} thread{'s' if threads > 1 else ''}"
    head, changes = _git("rev-parse", "--short", "HEAD"), _git("status", "--porcelain", "--untracked-files=no")
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else cpu,
        "torch": torch.__version__, "triton": version("triton"), "python": platform.python_version(),
        "commit": (head or "-") + ("+" if head and changes else ""),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }  # fmt: skip


def version(package: str) -> str:
    """Of an installed distribution; "-" where there is none."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "-"


def shown(row: dict[str, Any]) -> str:
    """One line for the terminal."""
    return (
        f"{_head(row)} {row['device_ms_p50']:>9} ms (call {row['call_ms_p50']:>9}) {row['floor_pct']:>5} % of floor "
        f"{row['peak_mib']:>8} MiB  err {row['max_abs_err'] or '-'} / {row['rel_err'] or '-'}"
    )


def start(description: str, arguments: Sequence[str] | None = None) -> Bench:
    """From --out, --device and --rounds, the same for every benchmark."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="CSV to write")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--rounds", type=int, default=0, help="0: 20 on a GPU, 5 on a CPU")
    parser.add_argument("--warm-up", type=int, default=0, help="0: 3 on a GPU, 1 on a CPU")
    given = parser.parse_args(arguments)
    device = torch.device(given.device)
    print(f"{' '.join(sys.argv)}: {machine(device)}", flush=True)
    rounds, warm_up = (20, 3) if device.type == "cuda" else (5, 1)
    return Bench(device=device, rounds=given.rounds or rounds, warm_up=given.warm_up or warm_up, out=given.out)


def _head(row: dict[str, Any]) -> str:
    return f"{row['op']:<18} {row['mode']:<18} {row['size']:<24} {row['inputs']:<7} {row['provider']:<26}"


def _cpu_name() -> str:
    """As the kernel calls it; the architecture where it says nothing."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except FileNotFoundError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]} ({platform.machine()})" if names else platform.machine()


def _short(number: float) -> float:
    return float(f"{number:.4g}")


def _git(*words: str) -> str:
    try:
        done = subprocess.run(["git", *words], cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout.strip()
