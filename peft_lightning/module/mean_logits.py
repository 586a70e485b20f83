"""The logits of a batch; of texts that are read in windows, the mean over the windows of each."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from peft_lightning.data.text_windows import ROWS_AT_ONCE, WINDOWS

_OF_ROWS = ("input_ids", "attention_mask")


def logits_of(network: nn.Module, batch: Mapping[str, Any]) -> Tensor:
    """Runs a network on a batch.

    Args:
        network: The network, whose output has ``logits``.
        batch: ``input_ids``, ``attention_mask`` and ``token_type_ids`` (batch, length), the last two where there are
            any; or what ``PadWindows`` made.

    Returns:
        Logits, (batch, outputs).
    """
    if WINDOWS in batch:
        return mean_of_windows(partial(logits_of, network), batch)
    types = {"token_type_ids": batch["token_type_ids"]} if "token_type_ids" in batch else {}
    output = network(input_ids=batch["input_ids"], attention_mask=batch.get("attention_mask"), **types)
    logits: Tensor = output.logits
    return logits


def mean_of_windows(logits: Callable[[Mapping[str, Any]], Tensor], batch: Mapping[str, Any]) -> Tensor:
    """Runs a network on the windows of texts, a part of them at once, and averages the logits of each text.

    Args:
        logits: Runs the network on rows, ``input_ids`` and ``attention_mask``, (rows, length).
        batch: What ``PadWindows`` made of B texts, on the network's device.

    Returns:
        Logits, float32, (B, outputs).
    """
    rows = {name: batch[name] for name in _OF_ROWS}
    # Parts of equal size: of 40 rows, 32 at once, the second part would else be of 8.
    parts = -(-len(rows["input_ids"]) // batch[ROWS_AT_ONCE])
    cut = [values.chunk(parts) for values in rows.values()]
    of_windows = torch.cat([logits(dict(zip(rows, part, strict=True))).float() for part in zip(*cut, strict=True)])
    # One sum a text, always in the same order: adding by index is not, on a GPU.
    return torch.stack([of_text.mean(dim=0) for of_text in torch.split(of_windows, batch[WINDOWS].tolist())])
