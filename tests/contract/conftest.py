"""One bench a session: houses are built once and share their warm starts."""

import pytest
import torch

from tests.contract.bench import Bench


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    torch.set_num_threads(1)
    return Bench(tmp_path_factory.mktemp("contract"))
