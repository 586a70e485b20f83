from pathlib import Path

from peft_lightning.runs.elsewhere import Elsewhere, Entry


def test_checkpoints_listed_after_the_kept_ones_are_removed_and_folders_stay_listed(tmp_path: Path) -> None:
    listed = Elsewhere(tmp_path / "elsewhere.jsonl")
    assert listed.entries() == []
    old, twice, young, table = (tmp_path / name for name in ("old.ckpt", "twice.ckpt", "young.ckpt", "table"))
    stranger = tmp_path / "stranger.ckpt"
    for path in (old, twice, young, stranger):
        path.touch()
    (tmp_path / "young.ckpt.partial").touch()
    for path in (old, twice):
        listed.add("checkpoint", path)
    listed.add("checkpoint", young)
    listed.add("rows", table)
    listed.add("checkpoint", twice)
    listed.rewind(2)
    assert {path.name for path in tmp_path.glob("*.ckpt*")} == {"old.ckpt", "twice.ckpt", "stranger.ckpt"}
    assert listed.entries() == [Entry("checkpoint", old), Entry("checkpoint", twice), Entry("rows", table)]


def test_a_link_to_a_removed_checkpoint_goes_with_it(tmp_path: Path) -> None:
    listed = Elsewhere(tmp_path / "elsewhere.jsonl")
    (tmp_path / "epoch=0.ckpt").touch()
    (tmp_path / "last.ckpt").symlink_to("epoch=0.ckpt")
    listed.add("checkpoint", tmp_path / "epoch=0.ckpt")
    listed.rewind(0)
    assert not list(tmp_path.glob("*.ckpt"))
    assert not (tmp_path / "last.ckpt").is_symlink()


def test_a_line_cut_short_by_a_kill_is_left_out(tmp_path: Path) -> None:
    listed = Elsewhere(tmp_path / "elsewhere.jsonl")
    listed.add("rows", tmp_path / "a")
    with (tmp_path / "elsewhere.jsonl").open("a") as file:
        file.write('{"kind": "che')
    assert listed.entries() == [Entry("rows", tmp_path / "a")]
    # What is listed next does not join the rest of that line.
    listed.rewind(1)
    listed.add("rows", tmp_path / "b")
    assert [entry.path.name for entry in listed.entries()] == ["a", "b"]
