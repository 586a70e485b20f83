import inspect
import logging
import warnings
from pathlib import Path

import pytest
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import BertConfig, BertForSequenceClassification, PreTrainedModel

from peft_lightning import library_messages
from peft_lightning.library_messages import quieten


def test_a_missing_optional_package_is_not_complained_about_and_all_else_is(caplog: pytest.LogCaptureFixture) -> None:
    quieten()
    from bitsandbytes.backends.cpu import ops

    complaint = "Failed to load CPU gemm_4bit_forward from kernels-community: %s. Please make sure"
    assert complaint in inspect.getsource(ops), "bitsandbytes words it otherwise now: the filter has to follow"
    ops.logger.warning(complaint, ImportError("No module named 'kernels'"))
    ops.logger.warning("something that a user should know: %s", "this")
    logging.getLogger("bitsandbytes.cextension").warning("no library")
    assert [record.getMessage() for record in caplog.records] == [
        "something that a user should know: this",
        "no library",
    ]


@pytest.mark.parametrize("in_a_job", [False, True])
def test_only_an_interactive_job_of_slurm_is_advised_to_use_srun(
    in_a_job: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "srun").write_text("#!/bin/sh\n")
    (tmp_path / "srun").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in ("SLURM_NTASKS", "SLURM_JOB_ID"):
        monkeypatch.delenv(name, raising=False)
    if in_a_job:
        monkeypatch.setenv("SLURM_JOB_ID", "7")
    with warnings.catch_warnings(record=True) as caught:
        warnings.resetwarnings()
        quieten()
        SLURMEnvironment.detect()
    assert any("`srun`" in str(warning.message) for warning in caught) == in_a_job


@pytest.mark.skipif(not hasattr(PreTrainedModel, "is_activation_checkpointing"), reason="it has no newer name")
def test_an_adapter_is_loaded_without_a_word_about_a_property_that_only_peft_reads(tmp_path: Path) -> None:
    config = BertConfig(vocab_size=20, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = get_peft_model(BertForSequenceClassification(config), LoraConfig(r=1, target_modules=["query"]))
        model.save_pretrained(str(tmp_path))
    for quiet in (False, True):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            if quiet:
                quieten()
            PeftModel.from_pretrained(BertForSequenceClassification(config), str(tmp_path))
        # Once PEFT has followed, the filter can go.
        assert any("is_gradient_checkpointing" in str(warning.message) for warning in caught) != quiet


def test_warnings_of_this_program_have_no_place_in_its_code_and_others_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)
    quieten()
    ours = str(Path(library_messages.__file__).parent / "callbacks/majority_class.py")
    assert warnings.formatwarning("it has hardly learned", UserWarning, ours, 54) == "warning: it has hardly learned\n"
    assert "/elsewhere/module.py:7: " in warnings.formatwarning("odd", UserWarning, "/elsewhere/module.py", 7)
