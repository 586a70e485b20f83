"""A decoder from `fit` to `predict`: a text's score does not hang on its neighbours, its padding or its checkpoint."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from transformers import PreTrainedTokenizerFast

from peft_lightning.__main__ import main
from peft_lightning.backbone.locations import EMBEDDED_FOLDER
from peft_lightning.module.classifier import TextClassifier
from tests.methods.tiny_decoders import save_decoder


@pytest.fixture
def qwen(tmp_path: Path) -> Path:
    """A tiny Qwen whose tokenizer pads with its end-of-text token and ends no text, as Qwen2.5's does."""
    folder = save_decoder("qwen2", tmp_path / "qwen", vocab_size=8192, max_position_embeddings=64, hidden_size=64)
    content = json.loads((EMBEDDED_FOLDER / "tokenizer.json").read_text())
    content["post_processor"] = None
    (folder / "tokenizer.json").write_text(json.dumps(content))
    PreTrainedTokenizerFast(
        tokenizer_file=str(folder / "tokenizer.json"), eos_token="</s>", pad_token="</s>", model_max_length=64
    ).save_pretrained(folder)
    return folder


def words(tiny_fit: list[str], recipe: str, qwen: Path) -> list[str]:
    """`tiny_fit` of another recipe, on that backbone."""
    rest = tiny_fit[tiny_fit.index("--data.source") :]
    return ["fit", "--config", f"configs/decoder/{recipe}.yaml", "--model.model_name_or_path", str(qwen), *rest]


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["lora", "qlora", "dora", "full", "7b-qlora", "7b-qlora-lean"])
def test_a_recipe_fits_tests_and_answers_as_it_was_tested(
    recipe: str, tiny_fit: list[str], qwen: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main([*words(tiny_fit, recipe, qwen), "--trainer.max_epochs", "2"])
    (run,) = Path("lightning_logs").glob("*/version_0")
    record = json.loads((run / "results.json").read_text())
    assert record["backbone"]["model_type"] == "qwen2"
    assert record["params"]["head"] == 2 * 64
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["data"]["add_eos_token"] is True
    assert config["model"]["quantize_on"] == "auto"
    # Each text by itself, in another order, without a Trainer: the same answers, since each ends where it ends.
    module = TextClassifier.load_trained(run)
    texts = ["a warm and funny film", "a dull film, said viewer 3 indeed indeed indeed", "good"]
    together = module.answer(texts)
    alone = [module.answer([text])[0] for text in texts]
    for one, other in zip(together, alone, strict=True):
        for name, share in one["probabilities"].items():
            assert share == pytest.approx(other["probabilities"][name], abs=4e-3)  # bf16
    Path("texts.txt").write_text("\n".join(texts))
    config_path = ["--config", str(run / "config.yaml")]
    main(["predict", *config_path, "--ckpt_path", "best", "--data.predict_file", "texts.txt", "--output", "out.jsonl"])
    lines = [json.loads(line) for line in Path("out.jsonl").read_text().splitlines()]
    assert [line["label"] for line in lines] == [line["label"] for line in together]
    # A checkpoint holds what is trained.
    assert recipe == "full" or record["checkpoint_bytes"] < (qwen / "model.safetensors").stat().st_size


@pytest.mark.slow
@pytest.mark.parametrize("form", ["merged", "adapter"])
def test_an_export_scores_the_token_that_the_run_scored(form: str, tiny_fit: list[str], qwen: Path) -> None:
    # The tokenizer's pad token ends its texts, and transformers never scores a pad token.
    main([*words(tiny_fit, "lora", qwen), "--trainer.max_epochs", "2"])
    (run,) = Path("lightning_logs").glob("*/version_0")
    main(["export", str(run), "--to", "out", "--format", form])
    report = json.loads(Path("out/export.json").read_text())
    assert report["flips"] == 0
    tokenizer = PreTrainedTokenizerFast.from_pretrained("out")
    assert tokenizer("good")["input_ids"][-1] == tokenizer.eos_token_id
    assert json.loads(Path("out/config.json").read_text())["pad_token_id"] == tokenizer.pad_token_id
    assert tokenizer.pad_token_id != tokenizer.eos_token_id


def test_a_length_beyond_the_positions_is_refused_before_anything_is_written(
    tiny_fit: list[str], qwen: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tokenizer = json.loads((qwen / "tokenizer_config.json").read_text())
    tokenizer["model_max_length"] = 10**30  # as Llama's says
    (qwen / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    with pytest.raises(SystemExit) as ended:
        main([*words(tiny_fit, "lora", qwen), "--data.max_length", "65"])
    assert ended.value.code == 2
    assert "takes at most 64 tokens" in capsys.readouterr().err
    assert not Path("lightning_logs").exists()


def test_the_line_about_the_data_says_what_pads(
    tiny_fit: list[str], qwen: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tokenizer = json.loads((qwen / "tokenizer_config.json").read_text())
    del tokenizer["pad_token"]
    (qwen / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    main([*words(tiny_fit, "lora", qwen), "--trainer.limit_train_batches", "1"])
    # transformers makes one up, <|endoftext|>, behind the model's embeddings.
    assert "a pad token ('<|endoftext|>') that its model does not know: '<pad>' pads" in capsys.readouterr().out
