from pathlib import Path

from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

from peft_lightning.callbacks.users_files import SECTION, UsersFiles
from peft_lightning.runs.directory import RunDirectory
from peft_lightning.runs.history import History
from tests.callbacks.scripted import ScriptedData, ScriptedModule, trainer


def test_two_tables_of_one_folder_get_their_versions_again(run: RunDirectory, tmp_path: Path) -> None:
    def tables() -> list[CSVLogger]:
        return [CSVLogger(tmp_path / "tables"), CSVLogger(tmp_path / "tables"), CSVLogger(tmp_path / "more")]

    first = tables()
    UsersFiles(run).begin(trainer(tmp_path, loggers=first))
    for logger in first:
        logger.log_metrics({"train/loss": 1.0}, step=1)
        logger.save()
    again = tables()
    assert UsersFiles(run).take_up(trainer(tmp_path, loggers=again), {}) == []
    assert [logger.log_dir for logger in again] == [logger.log_dir for logger in first]
    assert [Path(logger.log_dir).name for logger in first] == ["version_0", "version_1", "version_0"]
    # Before the first checkpoint nothing is kept.
    assert not list(tmp_path.rglob("metrics.csv"))


def test_a_table_that_is_new_on_a_resume_begins_beside_what_is_there(run: RunDirectory, tmp_path: Path) -> None:
    stranger = CSVLogger(tmp_path / "tables")
    stranger.log_metrics({"train/loss": 1.0}, step=1)
    stranger.save()
    new = CSVLogger(tmp_path / "tables")
    UsersFiles(run).take_up(trainer(tmp_path, loggers=[new]), {})
    assert Path(new.log_dir).name == "version_1"
    assert (Path(stranger.log_dir) / "metrics.csv").exists()


def test_what_cannot_be_taken_up_is_said(run: RunDirectory, tmp_path: Path) -> None:
    resumed = trainer(tmp_path, loggers=[TensorBoardLogger(tmp_path), History(run)])
    (note,) = UsersFiles(run).take_up(resumed, {})
    assert note.startswith("TensorBoardLogger begins a run of its own at every resume")


def test_a_checkpoint_is_listed_before_it_is_written_and_those_after_another_are_removed(
    run: RunDirectory, tmp_path: Path
) -> None:
    def keeping() -> ModelCheckpoint:
        return ModelCheckpoint(tmp_path / "kept", every_n_train_steps=1, save_top_k=-1)

    files = UsersFiles(run)
    begun = trainer(tmp_path, files, keeping(), enable_checkpointing=True)
    files.begin(begun)
    begun.fit(ScriptedModule(), datamodule=ScriptedData(train=4))
    listed = run.elsewhere.read_text().splitlines()
    assert [line.rpartition("step=")[2].partition(".")[0] for line in listed] == ["1", "2", "3", "4"]
    UsersFiles(run).take_up(
        trainer(tmp_path, keeping(), enable_checkpointing=True), {SECTION: {"entries": 2, "rows": {}}}
    )
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == ["epoch=0-step=1.ckpt", "epoch=0-step=2.ckpt"]
