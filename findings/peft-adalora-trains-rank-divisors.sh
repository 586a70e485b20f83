#!/usr/bin/env bash
# Library:  peft 0.21.2 with torch 2.13.0; on a CPU
# Seen:     AdaLoRA divides each layer's update by ranknum, which PEFT makes as a frozen parameter and leaves out of its
#           files. On a base layer in another floating point type it is cast, and what is cast is wrapped anew: a
#           parameter that is trained, in every layer. On a base in 32 bits it stays frozen.
# Output:   base in torch.float32: trained ['lora_A', 'lora_B', 'lora_E'], reloaded outputs are 0.0e+00 apart
#           base in torch.bfloat16: trained ['lora_A', 'lora_B', 'lora_E', 'ranknum'], reloaded outputs are 1.6e-01 apart
# Matters:  an adapter trained on a half-precision or quantised backbone answers otherwise once it is loaded from its files.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/env"
"$place/env/bin/pip" install --quiet torch==2.13.0 peft==0.21.2
cd "$place"
"$place/env/bin/python" -W ignore - <<'PY'
import sys

import torch
from peft import AdaLoraConfig, PeftModel, get_peft_model
from torch import nn


def base(dtype):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(16, 16)).to(dtype)


def trained_and_apart(dtype):
    config = AdaLoraConfig(init_r=4, target_r=2, tinit=1, tfinal=1, total_step=100, target_modules=["0"])
    model = get_peft_model(base(dtype), config)
    weights = {name: value for name, value in model.named_parameters() if value.requires_grad}
    given, wanted = (torch.randn(64, 16).to(dtype) for _ in range(2))
    optimizer = torch.optim.AdamW(weights.values(), lr=0.05)
    for _ in range(150):
        optimizer.zero_grad()
        nn.functional.mse_loss(model(given).float(), wanted.float()).backward()
        optimizer.step()
    model.save_pretrained("adapter")
    reloaded = PeftModel.from_pretrained(base(dtype), "adapter")
    with torch.no_grad():
        apart = (model.eval()(given) - reloaded.eval()(given)).abs().max().item()
    kinds = sorted({kind for name in weights for kind in ("lora_A", "lora_B", "lora_E", "ranknum") if f".{kind}." in name})
    print(f"base in {dtype}: trained {kinds}, reloaded outputs are {apart:.1e} apart")
    return "ranknum" in kinds, apart


whole, half = trained_and_apart(torch.float32), trained_and_apart(torch.bfloat16)
sys.exit(0 if whole == (False, 0.0) and half[0] and half[1] > 0.05 else 1)
PY
