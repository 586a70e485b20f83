#!/usr/bin/env bash
# Library:  peft 0.21.2 with torch 2.13.0; on a CPU
# Seen:     C3A's backward pass (BlockCircularConvolution) hands on another gradient of its inputs than that of its forward
#           pass: the kernel's value at j + k where the forward pass has j - k. The kernel's own gradient is right, and in
#           blocks of one or two the two are the same.
# Output:   blocks of 2: farthest from the numerical gradient 3.4e-10, largest 2.4e+00
#           blocks of 8: farthest from the numerical gradient 2.9e+00, largest 2.1e+00
# Matters:  all adapters below the last C3A layer are trained with a gradient that no loss has.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/env"
"$place/env/bin/pip" install --quiet torch==2.13.0 peft==0.21.2
cd "$place"
"$place/env/bin/python" -W ignore - <<'PY'
import sys

import torch
from peft.tuners.c3a.utils import BlockCircularConvolution

STEP = 1e-6


def farthest(size):
    torch.manual_seed(0)
    x = torch.randn(1, size, dtype=torch.float64, requires_grad=True)
    kernel = torch.randn(1, 1, size, dtype=torch.float64)
    weights = torch.randn(1, size, dtype=torch.float64)

    def loss(x):
        return (BlockCircularConvolution.apply(x, kernel) * weights).sum()

    (analytical,) = torch.autograd.grad(loss(x), x)
    with torch.no_grad():
        shifts = STEP * torch.eye(size, dtype=torch.float64)
        numerical = torch.stack([(loss(x + shift) - loss(x - shift)) / (2 * STEP) for shift in shifts])[None]
    distance = (analytical - numerical).abs().max().item()
    print(f"blocks of {size}: farthest from the numerical gradient {distance:.1e}, largest {numerical.abs().max():.1e}")
    return distance


sys.exit(0 if farthest(2) < 1e-6 and farthest(8) > 0.1 else 1)
PY
