"""The program, which stands still at the places that STAND_AT names, until a signal ends it.

Where it stands, it makes the file `standing-PLACE`.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PLACES = os.environ["STAND_AT"].split(",")
PATIENCE_S = 200.0


def stand(place: str) -> None:
    """Stands still if this is a place, once."""
    if place in PLACES and not Path(f"standing-{place}").exists():
        Path(f"standing-{place}").touch()
        time.sleep(PATIENCE_S)
        raise RuntimeError("nobody has ended this run")


def prepare() -> None:
    """Puts the standing places into the program's own functions."""
    from lightning.pytorch import Callback

    from peft_lightning.callbacks import run_recorder
    from peft_lightning.commands import predict
    from peft_lightning.commands.fit import Fit
    from peft_lightning.data.datamodule import TextDataModule
    from peft_lightning.runs.checkpoint_io import AtomicCheckpointIO

    class Stands(Callback):
        def on_train_batch_start(self, trainer: Any, *args: Any) -> None:
            if trainer.global_step == 2:
                stand("training")

        def on_validation_batch_start(self, *args: Any) -> None:
            stand("evaluation")

        def on_predict_batch_start(self, *args: Any) -> None:
            stand("prediction")

    def before(place: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            stand(place)
            return real(*args, **kwargs)

        return wrapped

    own = Fit.callbacks
    Fit.callbacks = lambda self: [Stands(), *own(self)]  # type: ignore[method-assign]
    predict.Predict.callbacks = lambda self: [Stands()]  # type: ignore[method-assign]
    TextDataModule.setup = before("data", TextDataModule.setup)  # type: ignore[method-assign]
    AtomicCheckpointIO._put = before("writing", AtomicCheckpointIO._put)  # type: ignore[method-assign]
    # Here a run waits for its checkpoints, after Lightning has made it deaf to Ctrl-C.
    recorder: Any = run_recorder
    recorder.settle = before("end", recorder.settle)
    Fit._test = before("between", Fit._test)  # type: ignore[method-assign]


if __name__ == "__main__":
    from peft_lightning.__main__ import main

    prepare()
    main()
