"""Where a backbone lies (the hub, a folder, the package itself), and the errors when it cannot be loaded."""

from __future__ import annotations

import logging
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies

from peft_lightning.errors import Placeholder, Setting, UserError
from peft_lightning.runs.given_paths import given_path

EMBEDDED = "embedded"
EMBEDDED_FOLDER = Path(__file__).parent / "embedded"

_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")
_PORTS = {"http": 80, "https": 443}
_PATIENCE_S = 10.0
_OFFLINE_WAY = (
    "use ",
    Setting("model.model_name_or_path", Placeholder("DIR")),
    " (a local folder) or ",
    Setting("model.model_name_or_path", EMBEDDED, overlay="configs/offline.yaml"),
)


def locate(name_or_path: str) -> str:
    """Resolves the user's name for a backbone into what ``from_pretrained`` takes.

    Args:
        name_or_path: A hub id, a local folder, or ``embedded``.

    Returns:
        The path of an existing folder, or the hub id unchanged.

    Raises:
        UserError: The name is neither a folder nor in the form of a hub id.
    """
    if name_or_path == EMBEDDED:
        return str(EMBEDDED_FOLDER)
    path = given_path(name_or_path)
    if path.is_dir():
        return str(path)
    if path.exists():
        raise UserError(
            f"{name_or_path} is a file; ", Setting("model.model_name_or_path"), " takes the folder that holds a model"
        )
    if not _HUB_ID.fullmatch(name_or_path) or name_or_path.startswith("."):
        raise UserError(f"{name_or_path}: no such folder (and no hub id either); ", *_OFFLINE_WAY)
    return name_or_path


def cache_alone(name_or_path: str) -> bool:
    """Tells whether a model can only come from the hub's cache, because the hub does not answer.

    huggingface_hub itself tries for half a minute, and again for each file.

    Args:
        name_or_path: A hub id, a local folder, or ``embedded``.

    Returns:
        The value for ``local_files_only``; False for a folder.
    """
    return not Path(locate(name_or_path)).is_dir() and not _hub_answers()


def require_model_folder(name_or_path: str) -> None:
    """Refuses a folder that does not hold a Hugging Face model.

    Args:
        name_or_path: A hub id, which passes, a local folder, or ``embedded``.

    Raises:
        UserError: The folder has no ``config.json``.
    """
    folder = Path(locate(name_or_path))
    if not folder.is_dir() or (folder / "config.json").is_file():
        return
    raise UserError(f"{name_or_path} has no config.json: it is not the folder of a Hugging Face model")


def loading_error(name_or_path: str, revision: str | None, error: Exception) -> UserError:
    """Returns the error that says in one line why a configuration, a tokenizer or weights could not be loaded.

    Args:
        name_or_path: The backbone's name as the user wrote it.
        revision: The branch, tag or commit that the user asked for.
        error: The exception that transformers or huggingface_hub raised.

    Returns:
        The error to raise instead.
    """
    if isinstance(error, UserError):
        return error
    causes = "".join(type(cause).__name__ + " " for cause in _chain(error))
    if "GatedRepo" in causes:
        return UserError(f"{name_or_path} is a gated hub model: accept its terms on the hub and log in (hf auth login)")
    if "RevisionNotFound" in causes:
        return UserError(f"{name_or_path} has no revision {revision!r} on the hub")
    if "RepositoryNotFound" in causes:
        return UserError(f"{name_or_path} is neither a local folder nor a model on the hub; ", *_OFFLINE_WAY)
    if any(sign in causes for sign in ("OfflineMode", "LocalEntryNotFound", "Connect", "Timeout", "NameResolution")):
        from huggingface_hub.constants import HF_HUB_OFFLINE

        why = "HF_HUB_OFFLINE is set" if HF_HUB_OFFLINE else "the hub cannot be reached"
        return UserError(f"{name_or_path} is neither a local folder nor in the hub's cache, and {why}; ", *_OFFLINE_WAY)
    if "SafetensorError" in causes:
        return UserError(
            f"{name_or_path} cannot be loaded ({first_line(error)}): a file of its weights is cut short or damaged,"
            " fetch it again (hf download, git lfs pull)"
        )
    if "trust_remote_code" in str(error):
        return UserError(f"{name_or_path} comes with Python code of its own, which is never run; choose another model")
    if "above report" in str(error):  # a table that transformers has logged, which nobody sees
        return UserError(f"{name_or_path} cannot be loaded: its weights are not of the form that its config.json says")
    return UserError(f"{name_or_path} cannot be loaded: {first_line(error)}")


def first_line(error: BaseException) -> str:
    """Returns the first line of an error's message, or the name of its type where it has no message."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Silences load reports, progress bars and messages about retries within the context; an error is still raised."""
    from huggingface_hub.utils import logging as hub_logging
    from transformers.utils import logging as transformers_logging

    verbosity, hub_verbosity = transformers_logging.get_verbosity(), hub_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity(logging.ERROR)
    hub_logging.set_verbosity(logging.ERROR)
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        hub_logging.set_verbosity(hub_verbosity)
        if bars:
            transformers_logging.enable_progress_bar()


@cache
def _hub_answers() -> bool:
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return False
    endpoint = urlsplit(constants.ENDPOINT)
    if getproxies() or endpoint.hostname is None or endpoint.scheme not in _PORTS:
        return True
    try:
        with socket.create_connection(
            (endpoint.hostname, endpoint.port or _PORTS[endpoint.scheme]), timeout=_PATIENCE_S
        ):
            return True
    except OSError:
        return False


def _chain(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__
