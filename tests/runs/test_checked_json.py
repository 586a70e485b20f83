import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from peft_lightning.runs.checked_json import MOST, build, checked, read_json, read_object, schema_of
from peft_lightning.runs.markdown import escaped
from peft_lightning.runs.record import RunRecord
from peft_lightning.runs.row import as_markdown


@dataclass
class Inner:
    share: float


@dataclass
class Outer:
    name: str
    kind: Literal["a", 1]
    inner: Inner | None = None
    shares: dict[str, float | None] = field(default_factory=dict)
    parts: tuple[Inner, ...] = ()
    anything: Any = None


def test_a_dataclass_is_built_with_all_that_is_nested_in_it() -> None:
    content = {"name": "ü", "kind": 1, "inner": {"share": 1}, "shares": {"x": 0, "y": None}, "parts": [{"share": 0.5}]}
    built = build(Outer, content | {"anything": [None]})
    assert built == Outer("ü", 1, Inner(1.0), {"x": 0.0, "y": None}, (Inner(0.5),), [None])
    assert isinstance(built.shares["x"], float)
    assert build(Outer, {"name": "", "kind": "a"}) == Outer("", "a")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": None}, "name is None"),
        ({"name": "\ud800"}, "name is"),
        ({"kind": True}, "kind is True"),
        ({"kind": []}, r"kind is \[\]"),
        ({"kind": 1.0}, r"kind is 1\.0"),
        ({"inner": 5}, "inner is 5"),
        ({"inner": {}}, "share is missing"),
        ({"inner": {"share": "0.5"}}, "share is '0.5'"),
        ({"inner": {"share": True}}, "share is True"),
        ({"inner": {"share": 10**400}}, "share is 1000"),
        ({"inner": {"share": float("inf")}}, "share is inf"),
        ({"inner": {"share": 1e300}}, None),
        ({"shares": [0.5]}, "shares is"),
        ({"shares": {"x": "0.5"}}, "shares 'x' is '0.5'"),
        ({"parts": {"0": {"share": 1}}}, "parts is"),
        ({"parts": [{"share": 1, "more": 2}]}, r"unknown keys \['more'\]"),
        ({"w" * 5000: 1}, "unknown keys"),
    ],
)
def test_what_is_of_another_type_is_named_in_few_words(changes: dict[str, Any], said: str | None) -> None:
    content = {"name": "x", "kind": "a"} | changes
    if said is None:
        build(Outer, content)
        return
    with pytest.raises(ValueError, match=said) as refused:
        build(Outer, content)
    assert len(str(refused.value)) < 200


def test_whole_numbers_are_those_of_64_bits() -> None:
    assert [checked(int, value, "n") for value in (0, -MOST, MOST)] == [0, -MOST, MOST]
    for value in (MOST + 1, 1.0, "1", True, None):
        with pytest.raises(ValueError, match="n is"):
            checked(int, value, "n")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[" * 100_000, "nested too deeply"),
        ('{"a": NaN}', "NaN is no number"),
        ("-Infinity", "-Infinity is no number"),
        ("9" * 5000, "4300 digits"),
        (b"\xff\xfe", "utf-8"),
        ("", "Expecting value"),
    ],
)
def test_what_is_no_json_says_why(content: str | bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=said):
        read_json(path)


def test_an_object_and_its_version_are_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(json.dumps({"schema": 3}))
    assert schema_of(read_object(path)) == 3
    path.write_text("[]")
    with pytest.raises(ValueError, match=r"the content is \[\]"):
        read_object(path)
    with pytest.raises(ValueError, match="schema is None"):
        schema_of({})
    with pytest.raises(FileNotFoundError):
        read_object(tmp_path / "none")


def test_a_method_s_name_is_text_in_tensorboard_s_panel() -> None:
    row = as_markdown(RunRecord("0" * 32, "lora", "f" * 64, "<b>a</b>|$x$_y_", 42, 42)).splitlines()[2]
    assert row.startswith(r"| \<b\>a\</b\>\|\$x\$\_y\_ | – |")
    assert escaped("91.2 %") == "91.2 %"
