"""An ONNX model as onnxruntime runs it, with batches and lengths of any size."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from peft_lightning.backbone.locations import first_line
from peft_lightning.errors import UserError
from peft_lightning.export.loading_code import LoadingCode, onnx_code
from peft_lightning.export.merged_form import plain_model
from peft_lightning.export.request import FewBits
from peft_lightning.module.classifier import TextClassifier
from peft_lightning.task import Task

if TYPE_CHECKING:
    from transformers import PreTrainedModel

MODEL = "model.onnx"
# A file of protocol buffers ends at 2 GiB; larger weights lie in a second file, which has to travel with it.
_ONE_FILE_BYTES = 1_900_000_000


class LogitsOnly(nn.Module):
    """A network that takes tokens, their mask and types, and returns the logits, as the exporter wants it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None) -> Tensor:
        """Returns the logits, (batch, outputs).

        Args:
            input_ids: Tokens, (batch, length).
            attention_mask: 1 for tokens, 0 for padding, (batch, length).
            token_type_ids: 0 for the first text of a pair, 1 for the second, (batch, length); None where the network
                does not tell them apart so.
        """
        types = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
        logits: Tensor = self.network(input_ids=input_ids, attention_mask=attention_mask, **types).logits
        return logits


def write_onnx(
    module: TextClassifier, task: Task, folder: Path, quantize: FewBits | None, token_types: bool = False
) -> tuple[LoadingCode, list[str]]:
    """Writes an ONNX model.

    Args:
        module: The trained module on a backbone that is not quantised; it is of no use afterwards.
        task: What it was trained for.
        folder: The export's folder.
        quantize: ``int8`` for linear layers in eight bits, whose inputs are quantised as they come; None to leave them.
        token_types: Whether the model takes token types too, which tell the texts of a pair apart.

    Returns:
        How to load it, and notes for its user.

    Raises:
        UserError: torch cannot convert the network.
    """
    network = plain_model(module, task)
    network.config.save_pretrained(str(folder))
    path = folder / MODEL
    size = sum(parameter.numel() * parameter.element_size() for parameter in network.parameters())
    _convert(network, path, token_types, one_file=size < _ONE_FILE_BYTES)
    if quantize is not None:
        _quantise(path, one_file=size < 4 * _ONE_FILE_BYTES)
    files = sorted(file.name for file in folder.glob(f"{MODEL}?*"))
    return onnx_code(MODEL), [f"{MODEL} needs {' and '.join(files)} beside it: move them together"] if files else []


def _convert(network: PreTrainedModel, path: Path, token_types: bool, one_file: bool) -> None:
    batch, length = torch.export.Dim("batch"), torch.export.Dim("length")
    # Tokens of two texts, the second padded, so that no branch of the network takes all masks to be full.
    tokens = torch.randint(5, min(1000, network.config.vocab_size), (2, 16), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(tokens)
    mask[1, 10:] = 0
    given = {"input_ids": tokens, "attention_mask": mask}
    if token_types:
        given["token_type_ids"] = torch.zeros_like(tokens)
        given["token_type_ids"][:, 6:10] = 1
    wrapped = LogitsOnly(network).eval()
    # It counts up the packages for images that are not installed.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), torch.inference_mode(False), torch.no_grad():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                wrapped,
                kwargs=given,
                f=str(path),
                input_names=list(given),
                output_names=["logits"],
                dynamic_shapes={name: {0: batch, 1: length} for name in given},
                dynamo=True,
                external_data=not one_file,
                verbose=False,
            )
    except Exception as error:  # the exporter's own, and whatever tracing the network raises
        raise UserError(
            f"torch cannot convert {network.config.model_type} to ONNX ({first_line(error)[:200]}): use another format"
        ) from error


def _quantise(path: Path, one_file: bool) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    floats = path.with_name("floats.onnx")
    path.rename(floats)
    weights = path.with_name(f"{path.name}.data")
    level = logging.root.level
    logging.root.setLevel(logging.ERROR)  # advice to preprocess the model for a GPU
    try:
        options: dict[str, Any] = {"weight_type": QuantType.QInt8, "use_external_data_format": not one_file}
        quantize_dynamic(str(floats), str(path), per_channel=True, **options)
    finally:
        logging.root.setLevel(level)
    floats.unlink()
    if one_file:
        weights.unlink(missing_ok=True)
