"""One thread per test process: small models gain nothing from more, and lose much when cores are shared."""

import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    torch.set_num_threads(1)
