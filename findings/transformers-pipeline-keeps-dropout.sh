#!/usr/bin/env bash
# Library:  transformers 5.24.0, torch 2.13.0
# Seen:     pipeline(task, model=...) turns gradients off and leaves a model in training mode, so dropout goes on: a model
#           that comes straight from its training loop scores the same text differently at every call, without a warning.
#           The pipeline of the same model's saved folder is in evaluation mode.
# Output:   probability of "good" for one text in two calls: the model at hand 0.795 and 0.716, the saved one 0.805 twice
# Matters:  the text-classification pipeline is the shortest way to try a model that was just fine-tuned, and looks like
#           one for inference. What it reports there is not what the saved model answers.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/env"
"$place/env/bin/pip" install --quiet torch==2.13.0 transformers==5.24.0
cd "$place"
"$place/env/bin/python" - <<'PY'
import sys
import warnings

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    AutoModelForSequenceClassification, PreTrainedTokenizerFast, RobertaConfig, logging, pipeline,
)

logging.set_verbosity_warning()
logging.disable_progress_bar()
words = ("[PAD]", "[UNK]", "good", "bad", "film", "plot")
backend = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="[UNK]"))
backend.pre_tokenizer = pre_tokenizers.Whitespace()
tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="[PAD]", unk_token="[UNK]")
config = RobertaConfig(
    vocab_size=len(words), hidden_size=32, num_attention_heads=2, intermediate_size=32, num_hidden_layers=2,
    max_position_embeddings=20, type_vocab_size=1, num_labels=2, pad_token_id=0, bos_token_id=None, eos_token_id=None,
    initializer_range=0.3,
)
torch.manual_seed(0)
AutoModelForSequenceClassification.from_config(config).save_pretrained("base")
model = AutoModelForSequenceClassification.from_pretrained("base").train()
optimizer = torch.optim.AdamW(model.parameters(), lr=0.003)
batch = tokenizer(["good film", "bad film", "good plot", "bad plot"], return_tensors="pt")
for _ in range(5):
    optimizer.zero_grad()
    model(**batch, labels=torch.tensor([1, 0, 1, 0])).loss.backward()
    optimizer.step()
model.save_pretrained("trained")
tokenizer.save_pretrained("trained")


def twice(classify):
    first, second = ({found["label"]: found["score"] for found in classify("good film", top_k=None)} for _ in "ab")
    return first["LABEL_1"], second["LABEL_1"]


with warnings.catch_warnings():
    warnings.simplefilter("error", UserWarning)
    at_hand = twice(pipeline("text-classification", model=model, tokenizer=tokenizer, device="cpu"))
    saved = twice(pipeline("text-classification", model="trained", device="cpu"))
print("P(good) of one text in two calls: model at hand", at_hand, "saved model", saved)
sys.exit(0 if model.training and at_hand[0] != at_hand[1] and saved[0] == saved[1] else 1)
PY
