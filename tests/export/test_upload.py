from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

from peft_lightning.errors import UserError
from peft_lightning.export.upload import require_access, upload
from tests.export.hub_stub import Hub, hub


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub that this process takes for the real one, and a token that it knows."""
    with hub() as state:
        monkeypatch.setattr(constants, "ENDPOINT", state.address)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setenv("HF_TOKEN", "hf_good")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        yield state


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    export = tmp_path / "mine"
    export.mkdir()
    (export / "README.md").write_text("---\nlicense: mit\n---\n# mine\n")
    (export / "model.safetensors").write_bytes(b"weights")
    return export


@pytest.mark.parametrize("public", [False, True])
def test_the_folder_arrives_in_one_commit_private_unless_said(stub: Hub, folder: Path, public: bool) -> None:
    require_access("owner/name")
    assert stub.created == []
    assert stub.files == {}
    assert upload(folder, "owner/name", public).endswith(f"/commit/{'1' * 40}")
    made = stub.created[0]
    # Older releases of huggingface_hub say `private`.
    assert made.get("visibility", "private" if made.get("private") else "public") == ("public" if public else "private")
    assert stub.files["model.safetensors"] == b"weights"
    assert set(stub.files) == {"README.md", "model.safetensors"}


def test_a_refused_upload_leaves_the_export_and_says_how_to_go_on(stub: Hub, folder: Path) -> None:
    stub.refuses = True
    with pytest.raises(
        UserError, match=f"lies in {folder}, but could not .*: upload it with hf upload owner/name {folder}"
    ):
        upload(folder, "owner/name", public=False)
    assert (folder / "model.safetensors").exists()


def test_a_wrong_token_is_found_before_anything_is_computed(stub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_bad")
    with pytest.raises(UserError, match="not to this token"):
        require_access("owner/name")


def test_without_token_network_or_name_a_line_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="'mine' is no name of a repository"):
        require_access("mine")
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
    with pytest.raises(UserError, match="without a token of the hub: log in"):
        require_access("owner/name")
    monkeypatch.setenv("HF_TOKEN", "hf_good")
    with pytest.raises(UserError, match="the hub does not answer"):
        require_access("owner/name")
