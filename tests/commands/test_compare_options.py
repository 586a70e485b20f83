"""Which words of `compare` are its own options."""

from peft_lightning.commands.compare_options import split_overrides


def test_settings_for_all_runs_may_stand_anywhere() -> None:
    words = ["a.yaml", "--data.n_train", "4", "--no_texts", "b.yaml", "--seeds", "1", "2", "--model.x=3", "-h"]
    mine, overrides = split_overrides(words)
    assert mine == ["a.yaml", "--no_texts", "b.yaml", "--seeds", "1", "2", "-h"]
    assert overrides == ["--data.n_train", "4", "--model.x", "3"]
