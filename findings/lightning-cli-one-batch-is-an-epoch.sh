#!/usr/bin/env bash
# Library:  lightning 2.6.6 with jsonargparse 4.53.0, Python 3.11 and torch 2.11.0, then torch 2.13.0; on a CPU
# Seen:     `typing` keeps one object for unions of the same types, in the order of whoever asked for it first. With torch
#           2.11.0 the Trainer's Optional[Union[int, float]] so becomes Union[float, int, None], and LightningCLI, which
#           tries the types in their order, reads `1` as 1.0: not one batch but all of them. With torch 2.13.0 it is one.
# Output:   torch 2.11.0: limit_train_batches is typing.Union[float, int, NoneType], 16 batches
#           torch 2.13.0: limit_train_batches is typing.Union[int, float, NoneType], 1 batch
# Matters:  a trial of one batch trains, and a prediction of one batch predicts, a whole epoch; which it is depends on what
#           other libraries were imported before.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cd "$place"
cat > train.py <<'PY'
import inspect
import warnings

warnings.filterwarnings("ignore")

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.cli import LightningCLI
from lightning.pytorch.demos.boring_classes import BoringDataModule, BoringModel

options = ["logger=false", "enable_checkpointing=false", "enable_progress_bar=false", "enable_model_summary=false"]
words = [f"--trainer.{option}" for option in (*options, "accelerator=cpu", "max_epochs=1", "limit_train_batches=1")]
cli = LightningCLI(BoringModel, BoringDataModule, save_config_callback=None, args=["fit", *words])
hint = inspect.signature(Trainer.__init__).parameters["limit_train_batches"].annotation
batches = cli.trainer.num_training_batches
version = torch.__version__.partition("+")[0]
print(f"torch {version}: limit_train_batches is {hint}, {batches} batch{'es' * (batches > 1)}")
PY
for version in 2.11.0 2.13.0; do
  python3 -m venv "$place/env-$version"
  "$place/env-$version/bin/pip" install --quiet "torch==$version" lightning==2.6.6 "jsonargparse[signatures]==4.53.0"
  "$place/env-$version/bin/python" -W ignore train.py 2> errors | tee -a seen
  rm -rf "$place/env-$version"
done
grep -qx "torch 2.11.0: limit_train_batches is typing.Union\[float, int, NoneType\], [0-9]* batches" seen
grep -qx "torch 2.13.0: limit_train_batches is typing.Union\[int, float, NoneType\], 1 batch" seen
