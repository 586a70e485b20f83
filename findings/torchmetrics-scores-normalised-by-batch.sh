#!/usr/bin/env bash
# Library:  torchmetrics 1.9.0, torch 2.13.0
# Seen:     curve metrics apply the sigmoid to scores "outside [0, 1]", and decide it anew in every update. Of logits that
#           arrive in batches, a batch whose logits all happen to lie in [0, 1] is kept as it is, so 0.9 there ranks above
#           a logit of 2 elsewhere (0.88): the metric depends on how the same scores were cut into batches, without a word.
# Output:   AUROC of eight logits that rank perfectly: 1.0 in one batch of eight, 0.83 in two batches of four
# Matters:  evaluation with another batch size, sorted by length or on two processes reports another AUROC for the same
#           model, and early stopping or "best" checkpoints follow it.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/env"
"$place/env/bin/pip" install --quiet torch==2.13.0 torchmetrics==1.9.0
cd "$place"
"$place/env/bin/python" - <<'PY'
import sys
import warnings

import torch
from torchmetrics.classification import BinaryAUROC

warnings.simplefilter("error")
logits = torch.tensor([0.1, 0.2, 0.95, 0.9, -1.0, -2.0, 2.0, 3.0])
labels = torch.tensor([0, 0, 0, 0, 0, 0, 1, 1])


def auroc(batch_size):
    metric = BinaryAUROC()
    for start in range(0, len(logits), batch_size):
        metric.update(logits[start : start + batch_size], labels[start : start + batch_size])
    return metric.compute().item()


whole, halves = auroc(8), auroc(4)
print(f"AUROC of the same eight logits: {whole} in one batch, {halves} in two batches of four")
sys.exit(0 if whole == 1.0 and halves < 1.0 else 1)
PY
