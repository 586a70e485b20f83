#!/usr/bin/env bash
# Library:  peft 0.21.2, transformers 5.24.0, torch 2.13.0
# Seen:     save_pretrained(path_initial_model_for_weight_conversion=...), which writes a trained PiSSA or OLoRA as a plain
#           LoRA, keeps the matrices A and B alone. A classifier's trained head (modules_to_save, and so every adapter of
#           task_type SEQ_CLS) and DoRA's magnitudes are left out of the file. Saving says nothing, and the configuration
#           beside the file still names them.
# Output:   4 tensors are left out: the head's (PiSSA, OLoRA), the magnitudes (DoRA). PeftModel.from_pretrained of the
#           classifier raises a KeyError, AutoModelForSequenceClassification puts a random head there (a line in its load
#           report): scores are 9 off. Saved without the conversion, the same adapter reloads with difference 0.
# Matters:  who trains, converts and deletes the run has lost the head, and learns it when the file is loaded.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/env"
"$place/env/bin/pip" install --quiet torch==2.13.0 transformers==5.24.0 peft==0.21.2
cd "$place"
"$place/env/bin/python" -W ignore - <<'PY'
import sys
import warnings

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification, RobertaConfig, logging

logging.set_verbosity_error()
logging.disable_progress_bar()
config = RobertaConfig(
    vocab_size=64, hidden_size=64, num_attention_heads=2, intermediate_size=64, num_hidden_layers=2,
    max_position_embeddings=40, type_vocab_size=1, num_labels=3, bos_token_id=0, pad_token_id=1, eos_token_id=2,
    hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
)
torch.manual_seed(0)
AutoModelForSequenceClassification.from_config(config).save_pretrained("base")
tokens = torch.randint(5, 64, (6, 12), generator=torch.Generator().manual_seed(1))
labels = torch.tensor([0, 1, 2, 0, 1, 2])


def base():
    return AutoModelForSequenceClassification.from_pretrained("base")


def scores(model):
    with torch.no_grad():
        return model.eval()(input_ids=tokens).logits


def trained(name, init, **arguments):
    torch.manual_seed(2)
    model = get_peft_model(
        base(), LoraConfig(r=4, target_modules=["query", "value"], init_lora_weights=init, **arguments)
    )
    # The start is saved as a plain LoRA, which the conversion wants.
    model.peft_config["default"].init_lora_weights = True
    model.save_pretrained("start")
    model.peft_config["default"].init_lora_weights = init
    optimizer = torch.optim.Adam((weight for weight in model.parameters() if weight.requires_grad), lr=0.01)
    for _ in range(30):
        optimizer.zero_grad()
        model.train()(input_ids=tokens, labels=labels).loss.backward()
        optimizer.step()
    model.save_pretrained(f"{name}-whole")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        model.save_pretrained(f"{name}-converted", path_initial_model_for_weight_conversion="start")
    # PEFT's general remark on a second adapter beside PiSSA: the conversion loads the start as one.
    said = [str(warning.message) for warning in said if "used with other adapters" not in str(warning.message)]
    whole, kept = (set(load_file(f"{name}-{how}/adapter_model.safetensors")) for how in ("whole", "converted"))
    lost = sorted(whole - kept)
    print(f"{name}: {len(lost)} of {len(whole)} tensors left out, warnings {said}, the first: {lost[0]}")
    return len(lost) == 4 and not said, scores(model)


found = []
for name in ("pissa", "olora"):
    is_short, wanted = trained(name, name, task_type="SEQ_CLS")
    whole = (scores(PeftModel.from_pretrained(base(), f"{name}-whole")) - wanted).abs().max().item()
    try:
        PeftModel.from_pretrained(base(), f"{name}-converted")
        error = None
    except KeyError as raised:
        error = raised.args[0]
    torch.manual_seed(3)
    auto = AutoModelForSequenceClassification.from_pretrained(f"{name}-converted", num_labels=3)
    random = (scores(auto) - wanted).abs().max().item()
    print(f"    reloaded whole: {whole} off; converted: PEFT raises KeyError {error!r}, transformers {random:.1f} off")
    found.append(is_short and whole == 0 and error is not None and random > 0.5)
found.append(trained("dora", "pissa", use_dora=True)[0])
sys.exit(0 if all(found) else 1)
PY
