"""A compiler follows the layers of every recipe, so that compiled steps are faster and not only later."""

import pytest
import torch

from peft_lightning.backbone.half_width import BackboneDtype
from peft_lightning.backbone.loading import Backbone
from peft_lightning.backbone.quantised import Quantisation
from peft_lightning.engine.compilation import CompiledLayers, CompileError
from peft_lightning.errors import UserError
from tests.methods.contract import RECIPES, adapted, batch

# PEFT's own layers draw a number or make a sparse matrix on the way; a note of the run says so.
SPLIT = {"loha": "Data-dependent branching", "lokr": "Data-dependent branching", "shira": "Attempted to call function"}
# They start from data, which tests of their own have.
STARTED = {"eva", "corda", "lora_ga"}
FAST = {("full", None), ("lora", None), ("qlora", "nf4"), ("ia3", None), ("dora", None), ("loha", None)}
TRIED = [name for name in RECIPES if name not in STARTED | {"head"}]
CASES = [
    pytest.param(name, bits, marks=() if (name, bits) in FAST else pytest.mark.slow)
    for name in TRIED
    for bits in (None, "nf4")
    if name[0] != "q" or bits
]


@pytest.mark.parametrize(("name", "bits"), CASES)
def test_a_layer_is_compiled_whole(name: str, bits: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    real = torch.compile
    # Which layers are split is the tracer's to say; making kernels takes ten times as long.
    monkeypatch.setattr(torch, "compile", lambda function, **settings: real(function, backend="eager", **settings))
    torch._dynamo.reset()
    quantisation = Quantisation("nf4") if bits is not None else None
    dtype: BackboneDtype = "float32" if name == "full" else "bfloat16"
    on = Backbone("embedded", quantisation=quantisation, compute_dtype=torch.bfloat16, dtype=dtype)
    try:
        _, model = adapted(name, on, 0)
    except UserError:
        assert bits == "nf4"
        pytest.skip("not trained beside four bits")
    model.train()

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16):
            model(**batch()).logits.float().sum().backward()

    step()  # the first one is never compiled
    layers = CompiledLayers(model)
    if (name, bits) == ("shira", "nf4"):
        with pytest.raises(CompileError, match="recursion"), layers.lent():
            step()
        return
    with layers.lent():
        step()
    assert (layers.split_by or "")[:24] == SPLIT.get(name, "")[:24]
