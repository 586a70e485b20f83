"""The lines of Python that load an export: the proof runs them, and the card shows them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

_CLASSES = "AutoConfig, AutoModelForSequenceClassification, AutoTokenizer"


@dataclass(frozen=True)
class LoadingCode:
    """How a user loads an export whose place is in the variable ``folder``.

    Args:
        imports: The imports.
        lines: The lines that leave ``model`` or ``session``, and ``tokenizer``.
        library: The hub's name of the library that loads it.
        from_hub: Whether ``folder`` may also be the name of a repository; otherwise it is downloaded first.
        packed: The words that quantise an adapter's backbone as it was in training; None where it is not quantised.
    """

    imports: tuple[str, ...]
    lines: tuple[str, ...]
    library: str
    from_hub: bool = True
    packed: dict[str, Any] | None = None

    def at(self, folder: str) -> list[str]:
        """Returns the whole code for a folder.

        Args:
            folder: Its path.
        """
        return [*self.imports, "", f"folder = {json.dumps(folder)}", *self.lines]

    def at_repository(self, name: str) -> list[str]:
        """Returns the whole code for a repository on the hub.

        Args:
            name: Its ``owner/name``.
        """
        if self.from_hub:
            return self.at(name)
        download = f"folder = snapshot_download({json.dumps(name)})"
        return ["from huggingface_hub import snapshot_download", *self.imports, "", download, *self.lines]


def adapter_code(base: str | None, revision: str | None, packed: dict[str, Any] | None) -> LoadingCode:
    """Returns the lines that load an adapter with plain PEFT.

    Args:
        base: The backbone, a name on the hub or a folder; None where it lies beside the adapter.
        revision: The commit of a backbone on the hub.
        packed: The words that quantise the backbone; None where it is not quantised.
    """
    place = 'f"{folder}/base"' if base is None else json.dumps(base)
    more = f", revision={json.dumps(revision)}" if base is not None and revision else ""
    lines = ["config = AutoConfig.from_pretrained(folder)  # holds the names of the labels"]
    if packed:
        words = ", ".join(f"{name}={_word(value)}" for name, value in packed.items())
        lines.append(f"bits = BitsAndBytesConfig({words})")
        more += ", quantization_config=bits"
    lines += [
        f"base = AutoModelForSequenceClassification.from_pretrained({place}, config=config{more})",
        "model = PeftModel.from_pretrained(base, folder)",
        "tokenizer = AutoTokenizer.from_pretrained(folder)",
    ]
    names = f"{_CLASSES}, BitsAndBytesConfig" if packed else _CLASSES
    imports = ("from peft import PeftModel", f"from transformers import {names}")
    return LoadingCode(imports, tuple(lines), "peft", from_hub=base is not None, packed=packed)


def merged_code() -> LoadingCode:
    """Returns the lines that load a merged model with plain transformers."""
    return LoadingCode(
        ("from transformers import AutoModelForSequenceClassification, AutoTokenizer",),
        (
            "model = AutoModelForSequenceClassification.from_pretrained(folder)",
            "tokenizer = AutoTokenizer.from_pretrained(folder)",
        ),
        "transformers",
    )


def onnx_code(file: str) -> LoadingCode:
    """Returns the lines that load an ONNX model with onnxruntime.

    Args:
        file: The model's file in the folder.
    """
    return LoadingCode(
        ("import onnxruntime", "from transformers import AutoTokenizer"),
        (
            f'session = onnxruntime.InferenceSession(f"{{folder}}/{file}")',
            "tokenizer = AutoTokenizer.from_pretrained(folder)",
        ),
        "onnxruntime",
        from_hub=False,
    )


def _word(value: object) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_word, value))}]"
    return json.dumps(value) if isinstance(value, str) else repr(value)
