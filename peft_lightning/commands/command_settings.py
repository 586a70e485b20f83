"""The settings of a command that runs a Trainer."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peft_lightning.recipes import recipe_name
from peft_lightning.runs.identity import config_sha256
from peft_lightning.runs.record import RunRecord


@dataclass(frozen=True)
class Settings:
    """The settings of a command.

    Args:
        config: The resolved configuration in plain values, as saved in ``config.yaml``.
        files: The ``--config`` files, in order.
        ckpt_path: ``best``, ``last``, a file, or None.
        options: Values of the command's own flags, by name.
    """

    config: dict[str, Any]
    files: list[Path]
    ckpt_path: str | None
    options: dict[str, Any]

    @property
    def root(self) -> Path:
        """The folder that holds ``lightning_logs``."""
        return Path(self.config["trainer"]["default_root_dir"] or ".")

    @property
    def sha256(self) -> str:
        """The hash of the resolved configuration."""
        return config_sha256(self.config)

    @property
    def run_path(self) -> Path | None:
        """The run whose ``config.yaml`` is the first ``--config`` file; None if it is not a run's."""
        folder = self.files[0].parent if self.files else None
        return folder if folder is not None and (folder / "results.json").is_file() else None

    @property
    def recipe(self) -> str:
        """The recipe's name: ``--recipe``, or that of the run whose ``config.yaml`` is used, or of the first file."""
        if (name := self.options.get("recipe")) is not None:
            return str(name)
        if self.run_path is not None:
            return RunRecord.read(self.run_path / "results.json").recipe
        if not self.files:
            return "none"
        return recipe_name(self.files[0])
