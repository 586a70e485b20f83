#!/usr/bin/env bash
# Library:  lightning 2.6.6 with jsonargparse 4.53.0 and torch 2.13.0, Python 3.11 (torch 2.11.0: the same); on a CPU
# Seen:     the Trainer annotates its limits as Optional[Union[int, float]], and LightningCLI, which tries the types in
#           their order, is to read `1` as one batch. But `typing` keeps the last 128 unions that it has made, and gives
#           one of the same types in the order of whoever asked first, here other modules of Lightning's that say
#           Union[float, int]. So `1` becomes 1.0, which is all batches. Where enough other modules are imported in
#           between, it is one batch.
# Output:   as imported: limit_train_batches is typing.Union[float, int, NoneType], 64 batches
#           typing's caches emptied before: limit_train_batches is typing.Union[int, float, NoneType], 1 batch
# Matters:  a trial of one batch trains a whole epoch, and a validation of one batch runs over all rows, without a word;
#           what the line means depends on which other packages are installed.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/env"
"$place/env/bin/pip" install --quiet torch==2.13.0 lightning==2.6.6 "jsonargparse[signatures]==4.53.0"
cd "$place"
cat > train.py <<'PY'
import inspect
import sys
import typing
import warnings

warnings.filterwarnings("ignore")



class Emptying:
    """Empties typing's caches when the Trainer's module is looked for, and finds nothing itself."""

    def find_spec(self, name, path=None, target=None):
        if name == "lightning.pytorch.trainer.trainer":
            for empty in typing._cleanups:
                empty()


if sys.argv[1] == "emptied":
    sys.meta_path.insert(0, Emptying())

from lightning.pytorch import Trainer
from lightning.pytorch.cli import LightningCLI
from lightning.pytorch.demos.boring_classes import BoringDataModule, BoringModel

options = ["logger=false", "enable_checkpointing=false", "enable_progress_bar=false", "enable_model_summary=false"]
words = [f"--trainer.{option}" for option in (*options, "accelerator=cpu", "max_epochs=1", "limit_train_batches=1")]
cli = LightningCLI(BoringModel, BoringDataModule, save_config_callback=None, args=["fit", *words])
hint = inspect.signature(Trainer.__init__).parameters["limit_train_batches"].annotation
batches = cli.trainer.num_training_batches
told = "typing's caches emptied before" if sys.argv[1] == "emptied" else "as imported"
print(f"{told}: limit_train_batches is {hint}, {batches} batch{'es' * (batches > 1)}")
PY
for way in imported emptied; do
  "$place/env/bin/python" -W ignore train.py "$way" 2> errors | tee -a seen
done
grep -qx "as imported: limit_train_batches is typing.Union\[float, int, NoneType\], 64 batches" seen
grep -qx "typing's caches emptied before: limit_train_batches is typing.Union\[int, float, NoneType\], 1 batch" seen
