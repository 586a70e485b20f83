"""The section of a card that says how the export is loaded, and how it cuts texts."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from peft_lightning.export.written import Written


def how_to_load(written: Written, name: str, on_hub: bool) -> str:
    """Returns the section.

    Args:
        written: The export.
        name: The export's name: its folder's, or a repository's.
        on_hub: Whether the name is a repository's.
    """
    lines = written.code.at_repository(name) if on_hub else written.code.at(name)
    length = written.texts.max_length
    parts = ["## Load it", "```python\n" + "\n".join(lines) + "\n```"]
    if written.stride is not None:
        parts += [
            f"In the run's test a text of more than {length} tokens was read in windows of {length} tokens, of which"
            f" neighbours share {written.stride}. These lines make them; `truncation=True` alone would keep the"
            " beginning. The answer to a text is the mean of its windows' logits, those where `text_of` is its number:",
            "```python\n"
            f"inputs = tokenizer(texts, truncation=True, padding=True, stride={written.stride},\n"
            f'                   return_overflowing_tokens=True, return_tensors="{_framework(written)}")\n'
            'text_of = inputs.pop("overflow_to_sample_mapping")\n'
            "```",
            # https://github.com/huggingface/tokenizers/issues/2091
            "tokenizers 0.23.1 and 0.23.2 leave out windows, mostly all but the first: take another release.",
        ]
    elif written.texts.in_pairs:
        parts += [
            "A pair is two texts that are encoded together. `firsts` and `seconds` are two lists of as many texts:",
            f'```python\ninputs = tokenizer(firsts, seconds, truncation=True, padding=True, return_tensors="'
            f'{_framework(written)}")\n```',
            f"This cuts a pair to {length} tokens, of which the longer text loses first, as in training.",
        ]
    elif written.window is None:
        side = "beginning" if written.texts.truncation == "tail" else "end"
        parts.append(
            f"`tokenizer(texts, truncation=True, padding=True)` cuts texts to {length} tokens at their {side},"
            " as in training."
        )
    else:
        first, last = written.window
        parts += [
            f"In training a text of more than {length} tokens was cut in its middle, which no setting of a tokenizer"
            " does. These lines do; `truncation=True` would keep the beginning alone:",
            "```python\n"
            'rows = tokenizer(texts)["input_ids"]\n'
            f"rows = [row if len(row) <= {length} else row[:{first}] + row[-{last}:] for row in rows]\n"
            f'inputs = tokenizer.pad({{"input_ids": rows}}, return_tensors="{_framework(written)}")\n'
            "```",
        ]
    if written.request.form == "adapter":
        parts.append(
            "`AutoModelForSequenceClassification.from_pretrained` on this folder itself would attach the adapter in"
            " transformers' own way, which is silently wrong for some types: use the lines above."
        )
    return "\n\n".join([*parts, *(f"Note: {note}." for note in written.notes)])


def _framework(written: Written) -> str:
    return "np" if written.request.form == "onnx" else "pt"
