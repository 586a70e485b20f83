"""Where ``fit --ckpt_path`` goes on: in an unfinished run, or in a new one from the checkpoint of another."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer

from peft_lightning.callbacks.kept_settings import SECTION
from peft_lightning.callbacks.log_rewind import rewind_nothing
from peft_lightning.callbacks.trainer_state import as_a_start
from peft_lightning.callbacks.users_files import drop_elsewhere
from peft_lightning.data.datamodule import TextDataModule
from peft_lightning.errors import Setting, UserError
from peft_lightning.optim.steps import planned_steps
from peft_lightning.runs.checkpoint_io import read_checkpoint
from peft_lightning.runs.continuation import changed_settings, refusal_to_go_on, settings_of, unlike_the_newest
from peft_lightning.runs.identity import config_sha256, spelled_otherwise
from peft_lightning.runs.run_search import find_newest, find_unfinished


def unfinished_run(runs: Path, former_runs: Sequence[Path], config: dict[str, Any]) -> Path:
    """Finds the unfinished run of a configuration.

    Args:
        runs: The folder of the method's runs.
        former_runs: The folders in which earlier versions of this program kept them.
        config: The resolved configuration.

    Raises:
        UserError: If there is none; the line says in which settings the newest one differs.
    """
    hashes = [config_sha256(one) for one in (config, *spelled_otherwise(config))]
    for folder in (runs, *former_runs):
        for sha256 in hashes:
            with suppress(UserError):
                return find_unfinished(folder, sha256)
    finished = next((sha256 for sha256 in hashes if find_newest(runs, sha256) is not None), None)
    try:
        return find_unfinished(runs, finished or hashes[0])
    except UserError as error:
        if finished is not None:
            raise
        raise UserError(*error.args, *unlike_the_newest(runs, config)) from error


class OtherRunsCheckpoint:
    """The checkpoint of another run, which a new run starts from.

    Args:
        ckpt_path: The file.

    Raises:
        UserError: If training cannot go on from it.
    """

    def __init__(self, ckpt_path: str) -> None:
        self._path = ckpt_path
        if ckpt_path == "best":
            raise UserError("fit goes on from --ckpt_path last or a file; `best` is for test, validate and predict")
        self.content = read_checkpoint(Path(ckpt_path))
        if "optimizer_states" not in self.content:
            raise UserError(f"{Path(ckpt_path)} holds weights only, nothing to go on training with: use last.ckpt")

    def check(self, config: dict[str, Any], data: TextDataModule, trainer: Trainer) -> None:
        """Refuses a run that cannot go on from it.

        Args:
            config: The run's configuration.
            data: The run's data, set up.
            trainer: The Trainer, for the run's length.

        Raises:
            UserError: If its state would override settings or data of the run, if its epochs have another number of
                batches, or if the run ends before its step.
        """
        self._check_goes_on(config, data)
        self._check_epochs(trainer, data)
        self._check_is_longer(trainer, data)

    def as_first(self, trainer: Trainer, data: TextDataModule) -> tuple[dict[str, Any], str]:
        """Makes it the first checkpoint of the new run.

        Args:
            trainer: The Trainer, for the run's length.
            data: The run's data, set up.

        Returns:
            The content of that checkpoint, and a note on what ran until there.
        """
        as_a_start(self.content)
        rewind_nothing(self.content)
        drop_elsewhere(self.content)
        note = f"training goes on from step {self.content['global_step']} of {self._path}"
        before = self.content["peft_lightning"].get("planned_steps")
        now = planned_steps(trainer, data.batches_per_epoch())
        if before not in (None, now):
            note += (
                f": until there the learning rate followed a schedule of {before:,} steps, from there one of {now:,}"
            )
        return self.content, note

    def _check_goes_on(self, config: dict[str, Any], data: TextDataModule) -> None:
        """Refuses settings and data that are not those of the checkpoint: its state would override them."""
        kept = self.content.get(SECTION)
        if kept is None:  # an older checkpoint
            return
        same_texts = kept["fingerprint"] == data.description()["fingerprint"]
        changed = changed_settings(kept["settings"], settings_of(config), same_texts)
        refusal = refusal_to_go_on(self._path, changed, same_texts)
        if refusal is not None:
            raise refusal

    def _check_epochs(self, trainer: Trainer, data: TextDataModule) -> None:
        """Refuses another number of processes, whose epochs the loader would refuse once the run has a folder."""
        processes = len(self.content["callbacks"].get("RNGState", {}).get("processes", ())) or 1
        loops = self.content.get("loops", {}).get("fit_loop", {}).get("state_dict", {})
        before = [state["batches_per_epoch"] for state in loops.get("combined_loader", ())]
        now = data.batches_per_epoch()
        if processes == trainer.world_size or before in ([], [now]):
            return
        raise UserError(
            f"{self._path} was trained by {processes} {'process' if processes == 1 else 'processes'} in {before[0]:,}"
            f" batches an epoch, and {trainer.world_size} would take {now:,}: go on with ",
            Setting("trainer.devices", max(processes // trainer.num_nodes, 1)),
            ", or leave ",
            Setting("ckpt_path"),
            " out to train anew",
        )

    def _check_is_longer(self, trainer: Trainer, data: TextDataModule) -> None:
        """Refuses a checkpoint of a step that the run would not reach: its record would state too few epochs."""
        if trainer.max_steps == -1 and trainer.max_epochs in (None, -1):  # nothing ends it
            return
        step, end = self.content["global_step"], planned_steps(trainer, data.batches_per_epoch())
        if step > end:
            raise UserError(
                f"{self._path} is of step {step:,}, and this run ends with step {end:,}: raise ",
                Setting("trainer.max_epochs"),
                " or ",
                Setting("trainer.max_steps"),
            )
