"""What every test shares: one thread, fixed hypothesis examples, GPU skips, and the gate's sample of slow tests."""

import hashlib
import os
import subprocess
from pathlib import Path

# Before anything imports torch or numpy; processes that tests start inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("RRL_TARGETS", "tests.")  # configs of tests name classes of tests

import hypothesis
import pytest

ROOT = Path(__file__).parents[1]

hypothesis.settings.register_profile("fixed", derandomize=True, deadline=None)
hypothesis.settings.load_profile("fixed")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--slow-sample", type=int, default=None, metavar="N",
        help="of the tests marked slow, run N, chosen by a hash of the commit; the others are deselected",
    )


def slow_sample(nodeids: list[str], num: int, commit: str) -> set[str]:
    """``num`` of ``nodeids``: those with the smallest hash of (commit, nodeid)."""
    return set(sorted(nodeids, key=lambda n: hashlib.sha256(f"{commit} {n}".encode()).hexdigest())[:num])


@pytest.hookimpl(trylast=True)  # after -m has had its say
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    num = config.getoption("--slow-sample")
    if num is None:
        return
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    chosen = slow_sample([i.nodeid for i in items if i.get_closest_marker("slow")], num, head.stdout.strip())
    dropped = [i for i in items if i.get_closest_marker("slow") and i.nodeid not in chosen]
    config.hook.pytest_deselected(items=dropped)
    items[:] = [i for i in items if i not in dropped]


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("needs a CUDA device")
