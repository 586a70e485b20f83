import os

import pytest

from peft_lightning.model.workspaces import use_small_workspaces


@pytest.mark.parametrize(("own", "used"), [(None, ":4096:2:16:8"), (":4096:8", ":4096:8")])
def test_workspaces_are_small_unless_somebody_has_said_otherwise(
    own: str | None, used: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")
    if own is None:
        monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")
    else:
        monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", own)
    use_small_workspaces()
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == used
