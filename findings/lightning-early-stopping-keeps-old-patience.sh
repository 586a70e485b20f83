#!/usr/bin/env bash
# Library:  lightning 2.6.6, torch 2.13.0
# Seen:     EarlyStopping puts its patience into the checkpoint and takes it back on resume, over the patience that the new
#           callback was made with. ModelCheckpoint, which also keeps settings there, leaves its new ones as they are.
# Output:   a run of 20 epochs that patience 1 ended after 2 is resumed with patience 100: it ends after the third, and the
#           callback's patience reads 1
# Matters:  who raises the patience because a run ended too early sees nothing change, and the configuration that is saved
#           beside the run names a patience that was never used.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/env"
"$place/env/bin/pip" install --quiet torch==2.13.0 lightning==2.6.6
cd "$place"
"$place/env/bin/python" -W ignore - <<'PY'
import logging
import sys

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.demos.boring_classes import BoringModel

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)


class NeverBetter(BoringModel):
    def validation_step(self, batch, batch_idx):
        self.log("loss", torch.tensor(1.0))


def run(patience, checkpoint=None):
    stopping = EarlyStopping("loss", patience=patience)
    trainer = Trainer(
        max_epochs=20, limit_train_batches=2, limit_val_batches=1, num_sanity_val_steps=0, logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, accelerator="cpu",
        callbacks=[stopping],
    )
    trainer.fit(NeverBetter(), ckpt_path=checkpoint)
    trainer.save_checkpoint(f"patience{patience}.ckpt")
    return trainer.current_epoch, stopping.patience


first = run(patience=1)
second = run(patience=100, checkpoint="patience1.ckpt")
print("patience 1:", first[0], "epochs; patience then", first[1])
print("resumed with patience 100:", second[0], "epochs in all; patience then", second[1])
sys.exit(0 if (first, second) == ((2, 1), (3, 1)) else 1)
PY
