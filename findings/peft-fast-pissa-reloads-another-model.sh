#!/usr/bin/env bash
# Library:  peft 0.21.2, transformers 5.24.0, torch 2.13.0
# Seen:     an adapter of PiSSA's fast form (init_lora_weights="pissa_niter_4") reloads as another model in every process:
#           loading takes the principal part out of the base weights anew, by a randomised decomposition that nothing
#           seeds, and the saved matrices are laid beside another rest than the one they were trained with. Neither
#           saving nor loading warns. The exact form ("pissa") reloads with difference 0.
# Output:   a trained adapter, which moved the scores by 1.9, reloaded onto the same base under three seeds: "pissa" is 0
#           off each time; "pissa_niter_4" is 0 off under the seed that it was made with, 0.26 and 0.32 under two others
# Matters:  the fast form is the one for large models. A test score that was measured after loading is not the trained
#           model's, and cannot be measured again.
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
from transformers import AutoModelForSequenceClassification, RobertaConfig, logging

logging.set_verbosity_error()
logging.disable_progress_bar()
config = RobertaConfig(
    vocab_size=64, hidden_size=64, num_attention_heads=2, intermediate_size=64, num_hidden_layers=2,
    max_position_embeddings=40, type_vocab_size=1, num_labels=3, bos_token_id=0, pad_token_id=1, eos_token_id=2,
    hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, initializer_range=0.1,
)
torch.manual_seed(0)
AutoModelForSequenceClassification.from_config(config).save_pretrained("base")
tokens = torch.randint(5, 64, (6, 12), generator=torch.Generator().manual_seed(1))
labels = torch.tensor([0, 1, 2, 0, 1, 2])
FIRST, OTHERS = 2, (3, 4)


def base():
    return AutoModelForSequenceClassification.from_pretrained("base")


def scores(model):
    with torch.no_grad():
        return model.eval()(input_ids=tokens).logits


def off_after_reload(start):
    frozen = base()
    before = scores(frozen)
    torch.manual_seed(FIRST)
    model = get_peft_model(frozen, LoraConfig(r=4, target_modules=["query", "value"], init_lora_weights=start))
    optimizer = torch.optim.Adam((weight for weight in model.parameters() if weight.requires_grad), lr=0.005)
    for _ in range(20):
        optimizer.zero_grad()
        model.train()(input_ids=tokens, labels=labels).loss.backward()
        optimizer.step()
    trained = scores(model)
    model.save_pretrained(start)
    differences = []
    for seed in (FIRST, *OTHERS):
        again = base()
        torch.manual_seed(seed)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            again = PeftModel.from_pretrained(again, start)
        assert not [warning for warning in said if issubclass(warning.category, UserWarning)]
        differences.append((scores(again) - trained).abs().max().item())
    print(f"{start}: training moved the scores by {(trained - before).abs().max():.2f};", end=" ")
    print("reloaded under three seeds:", ", ".join(f"{difference:.3g}" for difference in differences), "off")
    return differences


exact, fast = off_after_reload("pissa"), off_after_reload("pissa_niter_4")
is_seen = max(exact) == 0 and fast[0] == 0 and min(fast[1:]) > 1e-3 and fast[1] != fast[2]
sys.exit(0 if is_seen else 1)
PY
