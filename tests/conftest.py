"""What several tests share. Tests need neither network nor weights; those on real sections read
HISTOEXPR_SHARED and skip, saying so, without it."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared():
    """The folder of real data and parity files."""
    folder = os.environ.get("HISTOEXPR_SHARED")
    if not folder:
        pytest.skip("real data: set HISTOEXPR_SHARED to the folder that holds it")
    return Path(folder)


@pytest.fixture(scope="session")
def cohort():
    """A small synthetic cohort: three patients, one section each."""
    from histoexpr.datasets import make_spatial_expression

    return make_spatial_expression(n_patients=3, grid=(8, 8), n_genes=30, random_state=0)
