"""What a user asks of an export, and which combinations there are."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal, get_args

from peft_lightning.errors import Setting, UserError

Form = Literal["adapter", "merged", "onnx"]
Dtype = Literal["float32", "bfloat16", "float16"]
FewBits = Literal["int8", "nf4"]
FORMS: tuple[Form, ...] = get_args(Form)
DTYPES: tuple[Dtype, ...] = get_args(Dtype)
FEW_BITS: tuple[FewBits, ...] = get_args(FewBits)
_ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")


@dataclass(frozen=True)
class Request:
    """What is to be exported.

    Args:
        form: ``adapter``, which plain PEFT loads beside the backbone; ``merged``, which plain transformers loads; or
            ``onnx``, which onnxruntime runs.
        dtype: Type of a merged model's weights; None for 32-bit floats.
        quantize: Bits of the linear layers of what is exported: ``int8`` or ``nf4``; None to leave them.
        with_base: Whether an adapter gets the backbone beside it where that is a local folder.

    Raises:
        UserError: The form does not come so.
    """

    form: Form = "adapter"
    dtype: Dtype | None = None
    quantize: FewBits | None = None
    with_base: bool = False

    def __post_init__(self) -> None:
        """Checks the combination, and that its packages are there."""
        merged = Setting("format", "merged")
        if self.form == "adapter" and self.quantize is not None:
            raise UserError(
                f"an adapter in {self.quantize}? It is small, and its backbone is what takes room: ", merged
            )
        if self.form == "onnx" and self.quantize == "nf4":
            raise UserError("onnxruntime has no nf4: use ", Setting("quantize", "int8"))
        if self.form != "merged" and self.dtype is not None:
            raise UserError(
                Setting("dtype"), f" is for the weights of a merged model, not of {self.form}: leave it out"
            )
        if self.form != "adapter" and self.with_base:
            raise UserError(Setting("with_base"), f" is for an adapter, {self.form} holds all weights: leave it out")
        if self.form == "onnx":
            missing = [name for name in _ONNX_PACKAGES if find_spec(name) is None]
            if missing:
                raise UserError(
                    f"ONNX needs {', '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not installed:"
                    " pip install 'peft-lightning[onnx]'"
                )
        if self.form == "merged" and self.quantize is not None and find_spec("bitsandbytes") is None:
            raise UserError(f"a model in {self.quantize} needs bitsandbytes: pip install bitsandbytes")

    @property
    def words(self) -> str:
        """The form in words, such as ``merged, int8``."""
        return ", ".join(filter(None, (self.form, self.dtype, self.quantize)))

    @property
    def lossy_share(self) -> float:
        """The share of answers that may change, unless the user says how many; 0 for a form that loses nothing.

        A choice, not a law: 2 % is the width of the 95 % interval of an accuracy near 90 % on 2,000 texts, so a form
        that changes more could cost what a comparison of methods would show.
        """
        if self.quantize is not None:
            return 0.02
        return 0.005 if self.dtype in ("bfloat16", "float16") else 0.0
