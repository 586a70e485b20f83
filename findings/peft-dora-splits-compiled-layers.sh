#!/usr/bin/env bash
# Library:  peft 0.21.2 with torch 2.13.0 (with torch 2.11.0 both layers are one graph); on a CPU
# Seen:     to read a weight that may be quantised, a DoRA layer asks for the module of the weight's class. torch.compile
#           cannot follow that where the class is Parameter, the usual one: it splits every adapted layer. LoRA's layer,
#           which asks nothing, is compiled whole.
# Output:   lora: 1 graph, 0 splits
#           dora: 3 graphs, 2 splits
# Matters:  compiling a model with DoRA succeeds without a word, takes several times as long, fuses nothing across the
#           split and saves little; with fullgraph=True it raises.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/env"
"$place/env/bin/pip" install --quiet torch==2.13.0 peft==0.21.2
cd "$place"
"$place/env/bin/python" -W ignore - <<'PY'
import sys

import torch
from peft import LoraConfig, get_peft_model
from torch import nn


def graphs_and_splits(name):
    torch.manual_seed(0)
    config = LoraConfig(r=4, target_modules=["0"], use_dora=name == "dora")
    model = get_peft_model(nn.Sequential(nn.Linear(16, 16)), config)
    found = torch._dynamo.explain(model)(torch.randn(8, 16))
    graphs, splits = found.graph_count, found.graph_break_count
    print(f"{name}: {graphs} graph{'s' * (graphs != 1)}, {splits} split{'s' * (splits != 1)}")
    return graphs, splits


lora, dora = graphs_and_splits("lora"), graphs_and_splits("dora")
sys.exit(0 if lora == (1, 0) and dora[1] > 0 else 1)
PY
