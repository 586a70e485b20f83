"""Files read piece by piece are read as whole ones are, errors included."""

import gzip
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from peft_lightning.data.sources import large_files
from peft_lightning.data.sources.quoting import Quoting
from peft_lightning.data.sources.tables import read_texts
from peft_lightning.data.sources.text_pairs import TextPairs
from peft_lightning.errors import UserError

LONG = [f"row {number}, naïve – and {'long ' * (number % 7)}so" for number in range(40)]
CSV = "id,text\n" + "".join(f'{n},"{text}"\n' for n, text in enumerate(LONG))


def jsonl(rows: Sequence[object]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def read(path: Path, quoting: Quoting, monkeypatch: pytest.MonkeyPatch, large: bool) -> list[str] | str:
    """The texts, or the error, read whole or in pieces of 100 bytes."""
    limit = 0 if large else 1 << 30
    monkeypatch.setattr(large_files, "LARGE", limit)
    monkeypatch.setattr(large_files, "_LARGE_COMPRESSED", limit)
    monkeypatch.setattr(large_files, "_PIECE", 100)
    try:
        texts = read_texts(path, "text", quoting)
    except UserError as error:
        return str(error)
    assert not isinstance(texts, TextPairs)
    return list(texts)


CASES: tuple[tuple[str, str | bytes], ...] = (
    ("a.txt", "\n".join(LONG)),
    ("a.txt", "\ufeffone\r\ntwo \u0085 and \u2028 three\r\n last \r\n\r\n \n\n"),
    ("a.txt", "\n".join([*LONG[:30], "", *LONG[30:]])),
    ("a.txt", "\n".join(LONG).encode() + b"\ncaf\xe9 here\nand more\n"),
    ("a.txt", "\n".join(LONG).encode() + b"\nends in half a letter \xc3"),
    ("a.txt", "one\rtwo\rthree"),
    ("a.txt", " \n\n \n"),
    ("a.txt", "one\ntwo\n".encode("utf-16")),
    ("a.txt.gz", gzip.compress("\n".join(LONG).encode())),
    ("a.txt.gz", gzip.compress("\n".join(LONG).encode())[:-20]),
    ("a.jsonl", jsonl([{"id": n, "text": text} for n, text in enumerate(LONG)])),
    ("a.jsonl", jsonl([{"text": "one"}, {"id": 1}, {"text": "three"}])),
    ("a.jsonl", jsonl([{"review": "one"}, {"review": "two"}])),
    ("a.jsonl", jsonl([{"text": "one"}, {"text": 2}])),
    ("a.jsonl", jsonl([{"text": "one"}, ["text"]])),
    ("a.jsonl", jsonl([{"text": "one"}, {"text": "  "}])),
    ("a.jsonl", jsonl([{"text": text} for text in LONG]) + '{"text": "\\ud83d"}\n'),
    ("a.jsonl", jsonl([{"text": text} for text in LONG]) + "{text}\n"),
    ("a.jsonl", '{"text": {"0": "one", "1": "two"}}\n\n'),
    ("a.json", json.dumps([{"text": text} for text in LONG], indent=1)),
    ("a.json", jsonl([{"text": text} for text in LONG])),
    ("a.csv", CSV),
    ("a.csv", "\r\n\n" + CSV.replace("\n", "\r\n")),
    ("a.csv", CSV.replace("naïve", "na\nï\r\nve")),
    ("a.csv", CSV.replace("naïve", '""naïve""')),
    ("a.csv", CSV.replace('"', "").replace(", ", " ")),
    ("a.csv", CSV.replace('"', "").replace(", ", ' 5" ')),
    ("a.csv", CSV.replace('"', "").replace(", ", " ") + "41,one, too many\n"),
    ("a.csv", CSV + "41,one, too many\n"),
    ("a.csv", CSV + '41,"is not closed\n42,and more\n'),
    ("a.csv", CSV + '41,""\n'),
    ("a.csv", '"id","text"\n' + CSV.split("\n", 1)[1]),
    ("a.csv", '"id\n1","text"\n' + CSV.split("\n", 1)[1]),
    ("a.csv", "text\n" + "\n".join(text.replace(",", "") for text in LONG) + "\n\n\r\n"),
    ("a.csv", "text\n" + "\n".join(["one"] * 40 + [""] + ["two"] * 40) + "\n"),
    ("a.csv", "review,id\n" + "one,1\n" * 30),
    ("a.csv", "text;id\n" + "one;1\n" * 30),
    ("a.csv", "text,text\n" + "one,1\n" * 30),
    ("a.tsv", "id\ttext\n" + "".join(f"{n}\t{text}\n" for n, text in enumerate(LONG))),
    ("a.tsv", "id\ttext\n" + "".join(f'{n}\t"{text}\n' for n, text in enumerate(LONG))),
    ("a.tsv", "id\ttext\n" + '1\t"a text\nof 2\tlines\nof 3\tlines"\n' + "1\tplain\n" * 20),
    ("a.csv.gz", gzip.compress(CSV.encode())),
)


@pytest.mark.parametrize(("name", "content"), CASES, ids=[f"{n} {name}" for n, (name, _) in enumerate(CASES)])
@pytest.mark.parametrize("quoting", ["auto", "minimal", "none"])
def test_a_large_file_is_read_as_a_small_one(
    name: str, content: str | bytes, quoting: Quoting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if quoting != "auto" and ".csv" not in name and ".tsv" not in name:
        pytest.skip("only delimited files have quoting")
    if quoting == "none" and isinstance(content, str) and content.startswith('"id'):
        pytest.skip("has two mistakes, of which the header's is said first in a large file")
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    whole = read(path, quoting, monkeypatch, large=False)
    assert read(path, quoting, monkeypatch, large=True) == whole


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.csv", "a.tsv", "a.csv.gz"])
def test_ordinary_large_files_are_read_in_pieces(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large_files, "LARGE", 0)
    monkeypatch.setattr(large_files, "_LARGE_COMPRESSED", 0)
    path = tmp_path / name
    texts = {
        "a.txt": "\n".join(LONG),
        "a.jsonl": jsonl([{"text": text} for text in LONG]),
        "a.tsv": "id\ttext\n" + "".join(f"{n}\t{text}\n" for n, text in enumerate(LONG)),
    }.get(name, CSV)
    path.write_bytes(gzip.compress(texts.encode()) if name.endswith(".gz") else texts.encode())
    suffix = "." + name.removesuffix(".gz").split(".", 1)[1]
    column = large_files.read_large_texts(path, suffix, "text", "auto")
    assert column is not None
    assert column.to_pylist() == LONG
