from pathlib import Path

import pytest

from peft_lightning.compare.plan.building import build_plan
from peft_lightning.compare.plan.comparison_folder import forget, held, new_folder
from peft_lightning.errors import UserError
from tests.commands.holding import held_elsewhere


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_names_are_found_for_comparisons_without_one() -> None:
    assert [new_folder(None).name for _ in range(3)] == ["comparison_0", "comparison_1", "comparison_2"]
    assert new_folder("mine") == new_folder("mine")
    Path("lightning_logs/compare/file").write_text("in the way")
    with pytest.raises(UserError, match="choose another --name"):
        new_folder("file")


def test_only_what_a_comparison_made_goes_with_it() -> None:
    folder = new_folder("mine")
    build_plan(["configs/lora.yaml", "configs/ia3.yaml"], [1]).write(folder)
    (folder / "notes.txt").write_text("the user's")
    forget(folder)
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]
    (folder / "notes.txt").unlink()
    forget(folder)
    assert not folder.exists()


def test_a_folder_is_held_by_one_process_and_a_killed_one_lets_go(tmp_path: Path) -> None:
    with held_elsewhere(tmp_path / ".lock"), pytest.raises(UserError, match="worked on by another"), held(tmp_path):
        pass
    with held(tmp_path):
        pass
