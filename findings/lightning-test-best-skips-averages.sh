#!/usr/bin/env bash
# Library:  lightning 2.6.6, torch 2.13.0
# Seen:     with the callback WeightAveraging (here its EMA form) validation measures the averaged weights, and the best
#           checkpoint keeps them as its state_dict. `trainer.test(ckpt_path="best")` after `trainer.fit` in the same
#           Trainer tests the weights that were not averaged: the callback still holds its average, takes the load for a
#           resume and lays the training weights over those just loaded. `trainer.test()` without a path, and a new
#           Trainer with the same path, test the averaged ones. No warning, but an info line about current_model_state.
# Output:   tested without a path: the averaged weights; with ckpt_path="best": those that were not averaged; by a new
#           Trainer with that path: the averaged weights
# Matters:  the usual two lines, fit and test the best, report a score of weights that no validation has seen, and another
#           one than a script that tests the same file later.
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
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.callbacks import EMAWeightAveraging, ModelCheckpoint
from lightning.pytorch.demos.boring_classes import BoringModel

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
seed_everything(1, verbose=False)


class Watched(BoringModel):
    def validation_step(self, batch, batch_idx):
        self.log("loss", super().validation_step(batch, batch_idx)["x"])

    def test_step(self, batch, batch_idx):
        self.tested = self.layer.weight.detach().clone()


def trainer():
    return Trainer(
        max_epochs=1, limit_train_batches=8, limit_val_batches=1, limit_test_batches=1, num_sanity_val_steps=0,
        logger=False, enable_progress_bar=False, enable_model_summary=False, accelerator="cpu",
        callbacks=[EMAWeightAveraging(decay=0.9), ModelCheckpoint("kept", monitor="loss")],
    )


trained, model = trainer(), Watched()
trained.fit(model)
best = trained.checkpoint_callback.best_model_path
content = torch.load(best, weights_only=True)
averaged, raw = (content[key]["layer.weight"] for key in ("state_dict", "current_model_state"))


def tested(by, model, path):
    by.test(model, ckpt_path=path, verbose=False)
    is_averaged = torch.equal(model.tested, averaged)
    assert is_averaged != torch.equal(model.tested, raw)
    return is_averaged


found = {
    "without a path": tested(trained, model, None),
    'with ckpt_path="best"': tested(trained, model, "best"),
    "by a new Trainer with that path": tested(trainer(), Watched(), best),
}
for how, is_averaged in found.items():
    print(f"tested {how}: {'the averaged weights' if is_averaged else 'the weights that were not averaged'}")
sys.exit(0 if list(found.values()) == [True, False, True] else 1)
PY
