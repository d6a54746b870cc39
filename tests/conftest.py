"""What several test modules share: the folder of real data, and one Hypothesis profile."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Kernels compile on their first call, so a per-example deadline would only measure the compiler.
settings.register_profile(
    "tinycnn", deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("tinycnn")


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of real faces, teacher logits, the published checkpoint; skips where it is absent."""
    folder = os.environ.get("TINYCNN_SHARED")
    if not folder:
        pytest.skip("TINYCNN_SHARED is not set: it names the folder that holds data/")
    if not (Path(folder) / "data").is_dir():
        pytest.skip(f"TINYCNN_SHARED={folder} has no folder data/")
    return Path(folder)
