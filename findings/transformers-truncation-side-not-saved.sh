#!/usr/bin/env bash
# Library:  transformers 5.24.0, tokenizers 0.23.3
# Seen:     tokenizer.truncation_side and tokenizer.padding_side, set as attributes, work in the process and are left out by
#           save_pretrained, unless the tokenizer was made or loaded with that argument: then the attribute is saved.
#           model_max_length and the special tokens, set the same way, are always saved. Nothing warns.
# Output:   set to "left" and reloaded: "right", and "a b c d e" cut to 3 tokens is a b c in place of c d e; after
#           from_pretrained(..., truncation_side="right") the same attribute, set and saved, reloads as "left"
# Matters:  a classifier of long texts that was trained on their ends is published with a tokenizer that keeps their
#           beginnings, and a decoder for batched generation with one that pads behind the prompt.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/env"
"$place/env/bin/pip" install --quiet transformers==5.24.0 tokenizers==0.23.3
cd "$place"
TRANSFORMERS_VERBOSITY=error "$place/env/bin/python" - <<'PY'
import sys

from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

words = ("[PAD]", "[UNK]", "a", "b", "c", "d", "e")
backend = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="[UNK]"))
backend.pre_tokenizer = pre_tokenizers.Whitespace()
PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="[UNK]").save_pretrained("published")


def habits(tokenizer):
    kept = tokenizer("a b c d e", truncation=True, max_length=3)["input_ids"]
    sides = (tokenizer.truncation_side, tokenizer.padding_side)
    return *sides, tokenizer.model_max_length, tokenizer.pad_token, " ".join(words[number] for number in kept)


def set_and_reloaded(**arguments):
    tokenizer = AutoTokenizer.from_pretrained("published", **arguments)
    tokenizer.truncation_side = tokenizer.padding_side = "left"
    tokenizer.model_max_length, tokenizer.pad_token = 512, "[PAD]"
    tokenizer.save_pretrained("mine")
    found = habits(tokenizer), habits(AutoTokenizer.from_pretrained("mine"))
    print(f"loaded with {arguments}, then set: {found[0]}")
    print(f"    saved and reloaded: {found[1]}")
    return found


left = ("left", "left", 512, "[PAD]", "c d e")
lost = set_and_reloaded()
kept = set_and_reloaded(truncation_side="right", padding_side="right")
is_seen = lost == (left, ("right", "right", 512, "[PAD]", "a b c")) and kept == (left, left)
sys.exit(0 if is_seen else 1)
PY
