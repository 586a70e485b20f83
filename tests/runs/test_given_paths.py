import os
import re
from pathlib import Path

import pytest

from peft_lightning.errors import UserError
from peft_lightning.runs import given_paths
from peft_lightning.runs.given_paths import cache_folder, given_path
from tests.integration.offline_run import SOURCES


def test_a_home_is_found_and_an_unknown_user_is_a_name_like_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/somewhere")
    assert given_path("~/texts.txt") == Path("/somewhere/texts.txt")
    assert given_path(Path("~")) == Path("/somewhere")
    assert given_path("~nobody-of-this-name/texts.txt") == Path("~nobody-of-this-name/texts.txt")
    assert given_path("a/~b") == Path("a/~b")


def test_the_cache_follows_xdg(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert cache_folder() == Path("/somewhere/peft_lightning")
    monkeypatch.setenv("XDG_CACHE_HOME", "caches")
    assert cache_folder() == Path("caches/peft_lightning")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path("/home/me/.cache/peft_lightning")


def test_no_folder_called_tilde_is_made_for_a_user_without_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    # As os.path leaves it in a container whose user has neither a name nor a HOME.
    monkeypatch.setattr(os.path, "expanduser", str)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    with pytest.raises(UserError, match=r"^the home of ~ is unknown: set XDG_CACHE_HOME to a folder"):
        cache_folder()


def test_nothing_else_in_the_package_expands_a_home() -> None:
    files = [path for path in (SOURCES / "peft_lightning").rglob("*.py") if path != Path(given_paths.__file__)]
    assert [path for path in files if re.search(r"\bexpanduser\b", path.read_text(encoding="utf-8"))] == []
