#!/usr/bin/env bash
# Library:  peft 0.21.2 with bitsandbytes 0.50.2, transformers 5.23.0, torch 2.13.0; on a CPU
# Seen:     DeFT and HRA, put on a model that was loaded in 8 bits, take the packed whole numbers of a layer for its
#           weights. Nothing raises or warns; the untrained adapter, which leaves a float model as it is, moves the scores,
#           and training goes on from there. LoRA on the same model is as it should be.
# Output:   an untrained adapter moves the scores by 2e-9 (DeFT) and 8e-9 (HRA) on floats, by 1e-2 and 7e-2 on 8 bits;
#           LoRA by 0 on both
# Matters:  a comparison on an 8-bit backbone would show these as poor methods, which they are not.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/env"
"$place/env/bin/pip" install --quiet torch==2.13.0 transformers==5.23.0 peft==0.21.2 bitsandbytes==0.50.2
cd "$place"
"$place/env/bin/python" -W ignore - <<'PY'
import sys

import torch
from peft import DeftConfig, HRAConfig, LoraConfig, get_peft_model
from transformers import AutoModelForSequenceClassification, BitsAndBytesConfig, RobertaConfig

config = RobertaConfig(
    vocab_size=64, hidden_size=64, num_attention_heads=2, intermediate_size=64, num_hidden_layers=2,
    max_position_embeddings=40, type_vocab_size=1, num_labels=3, bos_token_id=0, pad_token_id=1, eos_token_id=2,
)
torch.manual_seed(0)
AutoModelForSequenceClassification.from_config(config).save_pretrained("model")
tokens = torch.randint(5, 64, (4, 12), generator=torch.Generator().manual_seed(1))


def scores(model):
    with torch.no_grad():
        return model.eval()(input_ids=tokens).logits.float()


def moved(kind, **arguments):
    eight = BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=["classifier"])
    found = []
    for loaded in ({}, {"quantization_config": eight, "device_map": {"": "cpu"}}):
        model = AutoModelForSequenceClassification.from_pretrained("model", dtype=torch.float32, **loaded)
        before = scores(model)
        torch.manual_seed(2)
        adapted = get_peft_model(model, kind(target_modules=["query", "value"], **arguments))
        found.append((scores(adapted) - before).abs().max().item())
    print(f"{kind.__name__:14} moves the scores by {found[0]:.1e} on floats, by {found[1]:.1e} on 8 bits")
    return found


broken = [moved(kind) for kind in (DeftConfig, HRAConfig)]
right = moved(LoraConfig)
seen = all(floats < 1e-6 and eight > 5e-3 for floats, eight in broken) and max(right) < 1e-5
sys.exit(0 if seen else 1)
PY
