from pathlib import Path

from peft_lightning.callbacks.log_rewind import LogRewind
from peft_lightning.runs.directory import RunDirectory
from peft_lightning.runs.history import History
from peft_lightning.runs.tensorboard import RunTensorBoard
from tests.callbacks.scripted import ScriptedData, ScriptedModule, trainer


def test_logs_are_cut_to_the_checkpoint_and_younger_ones_removed(run: RunDirectory) -> None:
    old, young = run.path / "events.out.tfevents.1", run.path / "events.out.tfevents.2"
    old.write_bytes(b"0123456789")
    young.write_bytes(b"after the checkpoint")
    run.history.write_text("step,name,value\n1,train/loss,1.0\n2,train/loss,1.0\n")
    kept = run.path / "results.json"
    kept.write_text("{}")
    rewind = LogRewind(run)
    rewind.collect_leftovers()
    own = run.path / "events.out.tfevents.3"
    own.write_bytes(b"of this process")
    rewind.rewind({old.name: 4, "history.csv": 33, "events.out.tfevents.0": 7})
    assert old.read_bytes() == b"0123"
    assert not young.exists()
    assert own.read_bytes() == b"of this process"
    assert run.history.read_text() == "step,name,value\n1,train/loss,1.0\n"
    assert kept.exists()
    # A second checkpoint that is loaded, for the test at the end, cuts nothing.
    rewind.rewind({})
    assert own.exists()
    assert old.exists()


def test_a_log_that_is_shorter_than_noted_is_left_alone(run: RunDirectory) -> None:
    run.history.write_text("short")
    rewind = LogRewind(run)
    rewind.collect_leftovers()
    rewind.rewind({"history.csv": 100})
    assert run.history.read_text() == "short"


def test_what_is_noted_is_on_disk(run: RunDirectory, tmp_path: Path) -> None:
    history, board = History(run), RunTensorBoard(run)
    watched = trainer(tmp_path, LogRewind(run), loggers=[board, history])
    watched.fit(ScriptedModule(), datamodule=ScriptedData())
    history.log_metrics({"train/loss": 1.0}, step=1)
    board.log_metrics({"train/loss": 1.0}, step=1)
    lengths = watched._checkpoint_connector.dump_checkpoint(weights_only=False)["peft_lightning_logs"]
    files = list(run.append_only_files())
    assert lengths == {path.name: path.stat().st_size for path in files}
    assert len(files) >= 2
    assert run.history.read_text().endswith("1,train/loss,1.0\n")
