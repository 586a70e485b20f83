#!/usr/bin/env bash
# Library:  tokenizers 0.23.3
# Seen:     of two TemplateProcessing steps in one processors.Sequence the second does not get the text that the first has
#           made. It gets its pieces: a special token in front and the text behind it count as a pair of texts. So the
#           second step uses its template for pairs, its token for single texts is never added or lands inside, and the
#           text's type ids become 1. Nothing is said; num_special_tokens_to_add still counts the token that is missing.
# Output:   "<s> $A", then "$A </s>", of the text "a b":
#           <s> a b, counted as 2 special tokens and 1 there;
#           with a pair template "$A </s> $B </s>" in the second step: <s> </s> a b </s>
# Matters:  tokenizers such as Llama 3's come with a Sequence of a byte step and a template that puts the first token.
#           A second template, appended so that texts end with their end-of-text token, leaves it out: a classifier that
#           reads the last token reads another, and a language model never learns to stop.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/env"
"$place/env/bin/pip" install --quiet tokenizers==0.23.3
"$place/env/bin/python" - <<'PY'
import sys

from tokenizers import Tokenizer, models, pre_tokenizers
from tokenizers.processors import Sequence, TemplateProcessing

vocabulary = {"<s>": 0, "</s>": 1, "a": 2, "b": 3}
begin = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
end = TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
end_of_pairs_too = TemplateProcessing(single="$A </s>", pair="$A </s> $B:1 </s>:1", special_tokens=[("</s>", 1)])
both = TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)])


def read(steps):
    tokenizer = Tokenizer(models.WordLevel(vocabulary))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = steps
    encoded = tokenizer.encode("a b")
    return " ".join(encoded.tokens), encoded.type_ids, tokenizer.num_special_tokens_to_add(False)


found = {
    "begin alone": read(begin),
    "end alone": read(end),
    "both in one template": read(both),
    "begin, then end": read(Sequence([begin, end])),
    "begin, then end with a pair template": read(Sequence([begin, end_of_pairs_too])),
}
for steps, (tokens, type_ids, counted) in found.items():
    print(f"{steps}: {tokens!r}, type ids {type_ids}, {counted} special tokens counted")
expected = [
    ("<s> a b", [0, 0, 0], 1),
    ("a b </s>", [0, 0, 0], 1),
    ("<s> a b </s>", [0, 0, 0, 0], 2),
    ("<s> a b", [0, 1, 1], 2),
    ("<s> </s> a b </s>", [0, 0, 1, 1, 1], 2),
]
sys.exit(0 if list(found.values()) == expected else 1)
PY
