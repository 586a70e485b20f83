"""The fine-tuning methods: one method, one file, its paper in its docstring."""

from peft_lightning.methods.base import Method
from peft_lightning.methods.full import FullFineTuning
from peft_lightning.methods.head import HeadOnly
from peft_lightning.methods.ia3 import IA3
from peft_lightning.methods.ia3_lora import IA3LoRA
from peft_lightning.methods.lora import LoRA
from peft_lightning.methods.peft import PEFT
from peft_lightning.methods.qlora import QLoRA

__all__ = ["IA3", "PEFT", "FullFineTuning", "HeadOnly", "IA3LoRA", "LoRA", "Method", "QLoRA"]
