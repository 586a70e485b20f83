#!/usr/bin/env bash
# Library:  lightning 2.6.6, torch 2.13.0
# Seen:     a checkpoint that a callback saves in on_train_batch_end, right before a validation inside the epoch, resumes
#           after that validation: it is never run. The loop counts the batch as validated before the hook is called.
# Output:   validations of the uninterrupted run at steps 2 and 4; of a run resumed from step 2's checkpoint at step 4 only
# Matters:  a run that is killed while it validates misses the epoch's best weights, EarlyStopping misses a turn, and the
#           resumed run is another run than the uninterrupted one.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/env"
"$place/env/bin/pip" install --quiet torch==2.13.0 lightning==2.6.6
cd "$place"
"$place/env/bin/python" -W ignore - <<'PY'
import logging
import sys

from lightning.pytorch import Callback, Trainer, seed_everything
from lightning.pytorch.demos.boring_classes import BoringModel

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)


class Watch(Callback):
    def __init__(self, saves):
        self.saves, self.validated = saves, []

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        if self.saves and trainer.global_step == 2:
            trainer.save_checkpoint("step2.ckpt")

    def on_validation_start(self, trainer, module):
        self.validated.append(trainer.global_step)


def run(saves, checkpoint=None):
    seed_everything(1, verbose=False)
    watch = Watch(saves)
    trainer = Trainer(
        max_epochs=1, limit_train_batches=4, limit_val_batches=1, val_check_interval=0.5, num_sanity_val_steps=0,
        logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        accelerator="cpu", callbacks=[watch],
    )
    trainer.fit(BoringModel(), ckpt_path=checkpoint)
    return watch.validated


whole = run(saves=True)
resumed = run(saves=False, checkpoint="step2.ckpt")
print("uninterrupted, validations at steps", whole)
print("resumed from the checkpoint of step 2, validations at steps", resumed)
sys.exit(0 if (whole, resumed) == ([2, 4], [4]) else 1)
PY
