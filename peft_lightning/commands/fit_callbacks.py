"""The callbacks of a training run, in their order."""

from collections.abc import Callable

from lightning.pytorch import Callback

from peft_lightning.callbacks.calibrator import Calibrator
from peft_lightning.callbacks.dashboard.callback import Dashboard
from peft_lightning.callbacks.engine_findings import EngineFindings
from peft_lightning.callbacks.epoch_timer import EpochTimer
from peft_lightning.callbacks.finite_loss import FiniteLoss
from peft_lightning.callbacks.gpu_memory import GPUMemory
from peft_lightning.callbacks.kept_settings import KeptSettings
from peft_lightning.callbacks.log_rewind import LogRewind
from peft_lightning.callbacks.majority_class import MajorityClassWarning
from peft_lightning.callbacks.parameter_count import ParameterCount
from peft_lightning.callbacks.prediction_writer import Predictions
from peft_lightning.callbacks.progress_file import asked_for
from peft_lightning.callbacks.rng_state import RNGState
from peft_lightning.callbacks.run_recorder import RunRecorder
from peft_lightning.callbacks.trainer_state import TrainerState
from peft_lightning.callbacks.training_curve import TrainingCurve
from peft_lightning.callbacks.unchanged_settings import UnchangedSettings
from peft_lightning.callbacks.users_files import UsersFiles
from peft_lightning.commands.calibration_options import calibration_settings
from peft_lightning.commands.command_settings import Settings
from peft_lightning.module.classifier import TextClassifier
from peft_lightning.runs.continuation import settings_of
from peft_lightning.runs.directory import RunDirectory
from peft_lightning.runs.hyperparameters import hyperparameters
from peft_lightning.runs.record import RunRecord


class FitCallbacks:
    """The callbacks that ``fit`` adds to the user's; it speaks to those that have a name here.

    Args:
        settings: The command's settings.
        directory: The run's directory, which need not be made yet.
        record: The run's record.
        model: The module.
        describe: Words an error for the record.
    """

    def __init__(
        self,
        settings: Settings,
        directory: RunDirectory,
        record: RunRecord,
        model: TextClassifier,
        describe: Callable[[BaseException], str],
    ) -> None:
        self.recorder = RunRecorder(directory, record, hyperparameters(settings.config), describe)
        self.predictions = Predictions()
        self.calibrator = Calibrator(calibration_settings(settings.config))
        self.rewind = LogRewind(directory)
        self.users_files = UsersFiles(directory)
        # Last, so that the record is written before the last picture is drawn.
        live = [Dashboard(directory, settings.options["live_interval_s"])] if settings.options["live"] else []
        self.every: list[Callback] = [
            RNGState(),
            TrainerState(),
            KeptSettings(settings_of(settings.config)),
            EngineFindings(limited=settings.config["memory_limit_gib"] is not None),
            FiniteLoss(),
            EpochTimer(),
            GPUMemory(),
            ParameterCount(),
            TrainingCurve(),
            UnchangedSettings(),
            MajorityClassWarning(model.method.name, record.recipe, model.model_name_or_path),
            self.predictions,
            self.calibrator,
            self.rewind,
            self.users_files,
            self.recorder,
            *asked_for(),
            *live,
        ]
