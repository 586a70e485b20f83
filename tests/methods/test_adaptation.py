import pytest
from torch import nn

from peft_lightning.backbone.half_width import BackboneDtype
from peft_lightning.backbone.loading import Backbone
from peft_lightning.errors import UserError
from peft_lightning.methods import FullFineTuning, LoRA
from peft_lightning.methods.adaptation import load_adapted, refuse_training
from tests.methods.tiny_backbones import batch


def recomputing(backbone: str) -> nn.Module:
    """A network that recomputes its activations."""
    return load_adapted(LoRA(), Backbone(backbone), 2, gradient_checkpointing=True)


def test_nothing_is_said_of_checkpointing_that_a_user_cannot_mend(
    still_backbone: str, recwarn: pytest.WarningsRecorder, capfd: pytest.CaptureFixture[str]
) -> None:
    recomputing(still_backbone)(**batch()).logits.square().sum().backward()
    assert not [warning for warning in recwarn if "checkpointing" in str(warning.message)]
    assert capfd.readouterr().err == ""


def test_an_encoder_that_cannot_recompute_is_refused(still_backbone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import RobertaForSequenceClassification

    monkeypatch.setattr(RobertaForSequenceClassification, "supports_gradient_checkpointing", False)
    with pytest.raises(UserError, match=r"cannot recompute .*: use gradient_checkpointing=False"):
        recomputing(still_backbone)


@pytest.mark.parametrize("dtype", ["bfloat16", "smallest"])
def test_weights_in_bf16_are_not_trained_by_adamw(dtype: BackboneDtype, still_backbone: str) -> None:
    backbone = Backbone(still_backbone, dtype=dtype)
    with pytest.raises(UserError, match=f"backbone_dtype='{dtype}': full trains weights in bf16"):
        load_adapted(FullFineTuning(), backbone, 2)
    load_adapted(FullFineTuning(), backbone, 2, optimizer="adamw_8bit")
    # What LoRA trains is in 32 bits.
    load_adapted(LoRA(), backbone, 2)


def test_what_is_lost_in_bf16_weights_is_refused_for_methods_that_train_them_alone(still_backbone: str) -> None:
    backbone = Backbone(still_backbone)
    with pytest.raises(UserError, match="precision='bf16-true': full trains weights in bf16"):
        refuse_training(FullFineTuning(), backbone, "bf16-true", False, "adamw")
    refuse_training(FullFineTuning(), backbone, "bf16-true", False, "adamw_8bit")
    refuse_training(FullFineTuning(), backbone, "bf16-mixed", False, "adamw")
    refuse_training(LoRA(), backbone, "bf16-true", False, "adamw")
