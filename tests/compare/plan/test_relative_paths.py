from pathlib import Path

import pytest
import yaml

from peft_lightning.compare.plan.building import build_plan
from peft_lightning.compare.plan.plan import read_plan
from peft_lightning.compare.plan.relative_paths import check_paths_lead_there
from peft_lightning.errors import UserError
from tests.compare.plan.test_plan import recipe


@pytest.fixture
def begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with reviews and a backbone, in which one stands."""
    for name in ("project/reviews", "project/2024", "project/backbones/small", "elsewhere"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project"


def begin(*overrides: str) -> Path:
    """Begins a comparison here."""
    folder = Path("mine").absolute()
    build_plan([recipe(Path("a.yaml"))], [1], overrides=overrides).write(folder)
    return folder


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        (["--data.source", "reviews"], "data.source reviews is"),
        (["--data.source=./reviews"], "data.source reviews is"),
        (["--data.source", "2024"], "data.source 2024 is"),
        (["--data.source", "../project/reviews/.."], None),  # the same from its neighbour
        (["--model.model_name_or_path", "backbones/small"], "model.model_name_or_path backbones/small is"),
        (["--model.model_name_or_path", "roberta-base", "--data.source", "imdb"], None),
        (["--model.model_name_or_path", "~no-such-user/model"], None),  # the run says that it is nowhere
        ([], None),
    ],
)
def test_a_path_that_leads_nowhere_from_here_is_one_line_with_the_directory_to_go_to(
    overrides: list[str], named: str | None, begun: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = begin(*overrides)
    check_paths_lead_there(read_plan(folder), folder)
    monkeypatch.chdir(begun.parent / "elsewhere")
    if named is None:
        check_paths_lead_there(read_plan(folder), folder)
        return
    with pytest.raises(UserError, match=named) as refused:
        check_paths_lead_there(read_plan(folder), folder)
    assert str(refused.value).endswith(f": cd {begun} and go on there with --resume {folder}")
    assert "\n" not in str(refused.value)


def test_a_recipe_s_own_path_is_looked_at_too(begun: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = yaml.safe_load(Path(recipe(Path("b.yaml"))).read_text())
    content["model"]["model_name_or_path"] = "backbones/small"
    Path("b.yaml").write_text(yaml.safe_dump(content))
    plan = build_plan([recipe(Path("a.yaml")), "b.yaml"], [1])
    monkeypatch.chdir(begun.parent / "elsewhere")
    with pytest.raises(UserError, match="backbones/small is relative to"):
        check_paths_lead_there(plan, begun / "mine")


def test_other_reviews_of_the_same_name_are_not_taken_for_them(begun: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = begin("--data.source", "reviews")
    other, linked = begun.parent / "elsewhere", begun.parent / "linked"
    (other / "reviews").mkdir()
    linked.symlink_to(begun)
    monkeypatch.chdir(other)
    with pytest.raises(UserError, match="reviews is relative to"):
        check_paths_lead_there(read_plan(folder), folder)
    monkeypatch.chdir(linked)
    check_paths_lead_there(read_plan(folder), folder)


def test_a_folder_here_is_not_taken_for_the_name_on_the_hub(begun: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = begin("--model.model_name_or_path", "roberta-base")
    other = begun.parent / "elsewhere"
    (other / "roberta-base").mkdir()
    monkeypatch.chdir(other)
    with pytest.raises(UserError, match=r"roberta-base is a folder or file here, and was none in .*: cd "):
        check_paths_lead_there(read_plan(folder), folder)


def test_what_was_moved_as_a_whole_goes_on(begun: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begin("--data.source", "reviews")
    moved = begun.rename(begun.parent / "moved")
    monkeypatch.chdir(moved)
    check_paths_lead_there(read_plan(moved / "mine"), moved / "mine")


def test_a_plan_of_before_its_directory_was_kept_goes_on(begun: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = begin("--data.source", "reviews")
    text = (folder / "plan.json").read_text()
    assert str(begun) in text
    (folder / "plan.json").write_text(text.replace(f'"directory": "{begun}"', '"directory": null'))
    monkeypatch.chdir(begun.parent / "elsewhere")
    check_paths_lead_there(read_plan(folder), folder)
