"""The embedded default asks no network for anything, and HF_HUB_OFFLINE keeps every other choice from asking."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.offline_run import PROGRAM, TINY, only_run, record, run

pytestmark = pytest.mark.slow

LISTENING = (sys.executable, str(Path(__file__).with_name("listening_run.py")))
FIT = ["fit", "--config", "configs/tuned_on_embedded/qlora.yaml", *TINY]
# A hub that is certain not to answer: no test may reach the real one.
NOWHERE = "http://127.0.0.1:9"


@pytest.fixture
def attempts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the listening program writes down each attempt."""
    for proxy in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(proxy)
    monkeypatch.setenv("HF_ENDPOINT", NOWHERE)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.setenv("ATTEMPTS", str(tmp_path / "attempts"))
    return tmp_path / "attempts"


@pytest.fixture(params=["1", None], ids=["HF_HUB_OFFLINE", "HF_HUB_OFFLINE unset"])
def offline(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    if request.param:
        monkeypatch.setenv("HF_HUB_OFFLINE", request.param)
    return request.param is not None


@pytest.mark.usefixtures("offline")
def test_a_run_with_the_overlay_asks_for_nothing(attempts: Path, tmp_path: Path) -> None:
    outcome = run([*FIT, "--data.num_workers", "1"], tmp_path, start=LISTENING)
    assert outcome.code == 0, outcome.err
    assert record(only_run(tmp_path))["status"] == "finished"
    assert attempts.read_text() == ""


@pytest.mark.parametrize(
    "choice",
    [("--model.model_name_or_path", "somebody/some-model"), ("--data.source", "somebody/some-reviews")],
    ids=["model", "data"],
)
def test_a_choice_from_the_hub_is_asked_for_unless_offline(
    choice: tuple[str, str], offline: bool, attempts: Path, tmp_path: Path
) -> None:
    """Also the proof that the witness of the test above sees attempts where there are any."""
    outcome = run([*FIT, *choice], tmp_path, start=LISTENING)
    assert outcome.code == 2
    assert choice[1] in outcome.err.strip().splitlines()[-1]
    asked = attempts.read_text()
    assert ("127.0.0.1" in asked) is not offline, asked
    assert (asked == "") is offline


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="network namespaces are Linux's")
def test_a_run_with_the_overlay_needs_no_network_interface(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Native code does not tell the interpreter what it asks for: here nothing, not even loopback, could answer."""
    bare = ["unshare", "--map-root-user", "--net"]
    if subprocess.run([*bare, "true"], capture_output=True).returncode:
        pytest.skip("this system lets nobody make a network namespace")
    monkeypatch.delenv("HF_HUB_OFFLINE")
    outcome = run(FIT, tmp_path, start=[*bare, *PROGRAM])
    assert outcome.code == 0, outcome.err
