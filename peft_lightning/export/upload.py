"""Uploads a proved export to the Hugging Face hub."""

from __future__ import annotations

import re
from pathlib import Path

from peft_lightning.backbone.locations import first_line
from peft_lightning.errors import Setting, UserError

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def require_access(repository: str) -> None:
    """Checks, before anything is computed, that there is a name, a token and a hub; uploads nothing.

    Args:
        repository: The name, ``owner/name``.

    Raises:
        UserError: One of them is missing.
    """
    from huggingface_hub import HfApi, get_token

    if not _REPOSITORY.fullmatch(repository):
        raise UserError(f"{repository!r} is no name of a repository: use ", Setting("push", "owner/name"))
    if get_token() is None:
        raise UserError(
            "nothing can be uploaded without a token of the hub: log in (hf auth login), or leave out ", _PUSH
        )
    try:
        HfApi().whoami()
    except Exception as error:  # of requests, of the hub, of a proxy
        raise UserError(
            f"the hub does not answer, or not to this token ({_reason(error)}): leave out ", _PUSH
        ) from error


def upload(folder: Path, repository: str, public: bool) -> str:
    """Uploads a proved export in one commit.

    Args:
        folder: The export's folder.
        repository: The name, ``owner/name``; a repository that exists is used, and keeps its visibility.
        public: Whether a new repository is public.

    Returns:
        The commit's address.

    Raises:
        UserError: It could not be uploaded; the folder stays as it is.
    """
    from huggingface_hub import HfApi

    api = HfApi()
    try:
        api.create_repo(repository, private=not public, exist_ok=True)
        commit = api.upload_folder(repo_id=repository, folder_path=folder, commit_message="Upload a proved export")
    except Exception as error:  # as above
        raise UserError(
            f"the export is proved and lies in {folder}, but could not be uploaded ({_reason(error)}): upload it with"
            f" hf upload {repository} {folder}"
        ) from error
    return str(commit.commit_url)


_PUSH = Setting("push")


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {first_line(error)[:200]}"
