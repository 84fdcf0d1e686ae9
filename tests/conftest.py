"""What all tests share: a project that cannot reach the user's settings, and the real archives where they are."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

PROJECT = Path(__file__).parent.parent

if "PYTEST_XDIST_WORKER" in os.environ:
    # Processes that test side by side share the cores: threads of each would wait for one another.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# The same examples in every run, and no clock: what fails here fails everywhere.
settings.register_profile(
    "project",
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("project")


@pytest.fixture(autouse=True)
def hermetic(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """DVC reads no global settings, keeps no cache outside the test, and no outer pipeline run leaks in."""
    home = tmp_path_factory.getbasetemp() / "dvc"
    for name in ("DVC_GLOBAL_CONFIG_DIR", "DVC_SYSTEM_CONFIG_DIR", "DVC_SITE_CACHE_DIR"):
        monkeypatch.setenv(name, str(home / name.lower()))
    for name in ("DVC_ROOT", "DVC_STAGE", "DVC_EXP_NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DVC_NO_ANALYTICS", "1")
    monkeypatch.setenv("NO_ALBUMENTATIONS_UPDATE", "1")


@pytest.fixture
def archives() -> Path:
    """The folder with the real CUB_200_2011.tgz and birds.zip; skips where `STACKGAN_ARCHIVES` names none."""
    folder = Path(os.environ.get("STACKGAN_ARCHIVES", ""))
    missing = [name for name in ("CUB_200_2011.tgz", "birds.zip") if not (folder / name).is_file()]
    if "STACKGAN_ARCHIVES" not in os.environ or missing:
        pytest.skip("the CUB archives are not at hand: set STACKGAN_ARCHIVES to the folder that holds them")
    return folder.resolve()
