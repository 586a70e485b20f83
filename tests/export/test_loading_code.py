from __future__ import annotations

import pytest

from peft_lightning.export.loading_code import LoadingCode, adapter_code, merged_code, onnx_code

PACKED = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "llm_int8_skip_modules": ["classifier"]}


@pytest.mark.parametrize(
    "code", [adapter_code(None, None, None), adapter_code("o/n", "abc", PACKED), merged_code(), onnx_code("model.onnx")]
)
@pytest.mark.parametrize("folder", ["mine", 'a "quoted" \\ one', "ein größerer Ordner"])
def test_any_folder_may_stand_in_the_lines(code: LoadingCode, folder: str) -> None:
    place: dict[str, str] = {}
    lines = code.at(folder)
    exec(next(line for line in lines if line.startswith("folder =")), place)
    assert place["folder"] == folder
    compile("\n".join(lines), "lines", "exec")


def test_the_backbone_comes_at_the_commit_and_in_the_bits_of_the_run() -> None:
    text = "\n".join(adapter_code("owner/name", "abc", PACKED).at("mine"))
    assert 'from_pretrained("owner/name", config=config, revision="abc", quantization_config=bits)' in text
    assert (
        'BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", llm_int8_skip_modules=["classifier"])' in text
    )


def test_what_no_library_loads_from_the_hub_is_downloaded_first() -> None:
    assert 'folder = "owner/name"' in merged_code().at_repository("owner/name")
    for code in (onnx_code("model.onnx"), adapter_code(None, None, None)):
        assert 'folder = snapshot_download("owner/name")' in code.at_repository("owner/name")
