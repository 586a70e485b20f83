#!/usr/bin/env bash
# Library:  lightning 2.6.6 with torch 2.13.0; two processes on a CPU over gloo
# Seen:     with more than one process the training loop broadcasts, before every batch, whether the first one was sent
#           SIGTERM, in a tensor of the training device, and reads it back with `item()`. One process does neither.
# Output:   1 process: 20 batches, 0 broadcasts, 0 values read back
#           2 processes: 20 batches, 20 broadcasts, 20 values read back
# Matters:  a value that is read back from a GPU has the host wait for all kernels before it, so no process prepares a
#           step while the GPU computes the one before: what launching a step costs is added to every step, and the faster
#           the steps, the more. Nothing in the training code, its callbacks or a profile of its own operators shows it.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/env"
"$place/env/bin/pip" install --quiet torch==2.13.0 lightning==2.6.6
cd "$place"
cat > train.py <<'PY'
import sys
import warnings

import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.demos.boring_classes import BoringModel

warnings.filterwarnings("ignore")


class Counter(Callback):
    """Counts what the loop does between the first batch and the end of training."""

    def on_train_start(self, trainer, module):
        self.broadcasts = self.read = self.batches = 0
        self.kept = torch.distributed.broadcast, torch.Tensor.item

        def broadcast(*given, **named):
            self.broadcasts += 1
            return self.kept[0](*given, **named)

        def item(tensor):
            self.read += 1
            return self.kept[1](tensor)

        torch.distributed.broadcast, torch.Tensor.item = broadcast, item

    def on_train_batch_end(self, *given):
        self.batches += 1

    def on_train_epoch_end(self, trainer, module):
        torch.distributed.broadcast, torch.Tensor.item = self.kept
        if trainer.global_rank == 0:
            found = f"{self.batches} batches, {self.broadcasts} broadcasts, {self.read} values read back"
            print(f"{trainer.world_size} process{'es' * (trainer.world_size > 1)}: {found}", flush=True)


if __name__ == "__main__":
    trainer = Trainer(
        accelerator="cpu",
        devices=int(sys.argv[1]),
        strategy="ddp_spawn" if sys.argv[1] == "2" else "auto",
        max_epochs=1,
        limit_train_batches=20,
        limit_val_batches=0,
        callbacks=[Counter()],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(BoringModel())
PY
for processes in 1 2; do
  "$place/env/bin/python" -W ignore train.py "$processes" 2> errors | tee -a seen
done
grep -qx "1 process: 20 batches, 0 broadcasts, 0 values read back" seen
grep -qx "2 processes: 20 batches, 20 broadcasts, 20 values read back" seen
