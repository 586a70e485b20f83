"""Takes up what a user's own ``ModelCheckpoint`` and ``CSVLogger`` have written when a killed run is resumed."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger

from peft_lightning.errors import UserError
from peft_lightning.runs.checkpoint_io import AtomicCheckpointIO
from peft_lightning.runs.csv_rows import KeptRows, is_local
from peft_lightning.runs.directory import RunDirectory
from peft_lightning.runs.elsewhere import Elsewhere
from peft_lightning.runs.history import History
from peft_lightning.runs.tensorboard import RunTensorBoard

SECTION = "peft_lightning_elsewhere"


class UsersFiles(Callback):
    """Lists the files of a user's own callbacks and loggers, and brings them to the state that a checkpoint had.

    Args:
        run: The run's directory.
    """

    def __init__(self, run: RunDirectory) -> None:
        self._run = run

    def begin(self, trainer: Trainer) -> None:
        """Begins the list of a new run.

        Args:
            trainer: The run's Trainer; its run directory is made.
        """
        for logger in _csv_loggers(trainer):
            self._list.add("rows", Path(logger.log_dir))
            logger._experiment = KeptRows(logger.log_dir)
        self._watch(trainer)

    def take_up(self, trainer: Trainer, checkpoint: dict[str, Any]) -> list[str]:
        """Brings files and rows to the state that a checkpoint had.

        Args:
            trainer: The Trainer of the resumed run.
            checkpoint: The checkpoint to go on from; empty to start again.

        Returns:
            What cannot be taken up, a sentence for each logger.
        """
        state = checkpoint.get(SECTION, {})
        self._take_versions(trainer)
        self._list.rewind(state.get("entries", 0))
        folders = self._folders()
        for logger in _csv_loggers(trainer):
            folder = Path(logger.log_dir).absolute()
            if folder in folders:
                logger._experiment = KeptRows(logger.log_dir, state.get("rows", {}).get(str(folder), 0))
            else:
                self._list.add("rows", folder)
                logger._experiment = KeptRows(logger.log_dir)
        self._watch(trainer)
        return [
            f"{type(logger).__name__} begins a run of its own at every resume: what it had before is in the one before"
            for logger in trainer.loggers
            if not isinstance(logger, CSVLogger | RunTensorBoard | History)
        ]

    def check(self, trainer: Trainer) -> None:
        """Refuses a ``ModelCheckpoint`` that would write over the run's own checkpoints.

        Raises:
            UserError: One would.
        """
        for callback in _model_checkpoints(trainer):
            own = callback.dirpath is None and bool(trainer.loggers) and isinstance(trainer.loggers[0], RunTensorBoard)
            names = {callback.filename, callback.CHECKPOINT_NAME_LAST if callback.save_last else None}
            clash = next((name for name in ("best", "last") if name in names), None)
            if own and clash is not None and not callback._enable_version_counter:
                raise UserError(
                    f"ModelCheckpoint would write {clash}.ckpt over the run's own: give it another dirpath,"
                    " or leave enable_version_counter true"
                )

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Writes all rows logged so far, and saves how many there are and what is listed."""
        rows = {}
        for logger in _csv_loggers(trainer):
            logger.save()
            if isinstance(logger._experiment, KeptRows):
                rows[str(Path(logger.log_dir).absolute())] = logger._experiment.written
        checkpoint[SECTION] = {"entries": len(self._list.entries()), "rows": rows}

    def _take_versions(self, trainer: Trainer) -> None:
        """Gives each ``CSVLogger`` the version that it had when the run began."""
        free = self._folders()
        for logger in _csv_loggers(trainer):
            place = Path(logger.root_dir).absolute()
            if logger._version is None and (found := next((path for path in free if path.parent == place), None)):
                free.remove(found)
                logger._version = int(found.name.removeprefix("version_"))

    @property
    def _list(self) -> Elsewhere:
        return Elsewhere(self._run.elsewhere)

    def _folders(self) -> list[Path]:
        return [entry.path for entry in self._list.entries() if entry.kind == "rows"]

    def _watch(self, trainer: Trainer) -> None:
        """Lists every checkpoint that is not the run's own, and keeps their names from its own."""
        io = trainer.strategy.checkpoint_io
        if isinstance(io, AtomicCheckpointIO):
            io.announce = self._announce
        for callback in _model_checkpoints(trainer):
            # An instance's own function: a subclass would have to be named in the user's YAML.
            callback.file_exists = partial(self._taken, callback.file_exists)  # type: ignore[method-assign]

    def _announce(self, path: Path) -> None:
        if path.absolute() not in self._own():
            self._list.add("checkpoint", path)

    def _taken(self, exists: Callable[[Any, Trainer], bool], filepath: Any, trainer: Trainer) -> bool:
        io = trainer.strategy.checkpoint_io
        # A checkpoint that a thread is still writing is there for whoever chooses a name.
        waiting = isinstance(io, AtomicCheckpointIO) and io.is_writing(Path(filepath))
        return waiting or Path(filepath).absolute() in self._own() or exists(filepath, trainer)

    def _own(self) -> set[Path]:
        return {self._run.best.absolute(), self._run.last.absolute()}


def drop_elsewhere(checkpoint: dict[str, Any]) -> None:
    """Drops from another run's checkpoint what that run had listed.

    Args:
        checkpoint: The content of a checkpoint file, which is changed.
    """
    checkpoint.pop(SECTION, None)


def _csv_loggers(trainer: Trainer) -> Iterator[CSVLogger]:
    if not trainer.is_global_zero:
        return
    yield from (logger for logger in trainer.loggers if isinstance(logger, CSVLogger) and is_local(logger.save_dir))


def _model_checkpoints(trainer: Trainer) -> Iterator[ModelCheckpoint]:
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
    return (callback for callback in callbacks if isinstance(callback, ModelCheckpoint))
