import gzip
from collections.abc import Callable
from pathlib import Path

import pytest

from peft_lightning.data.sources import text_files
from peft_lightning.data.sources.tables import read_table, read_texts
from peft_lightning.errors import UserError

Write = Callable[[str, str | bytes], Path]
CONTENT = 'text,label\n"été, too",1\n\U0001f3ac,0\n'


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-8-sig"])
def test_a_byte_order_mark_tells_the_encoding(write: Write, encoding: str) -> None:
    split = read_table(write("a.csv", CONTENT.encode(encoding)), "text", "label")
    assert split.texts == ["été, too", "\U0001f3ac"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv.gz", CONTENT),
        (
            "a.TSV.GZ",
            CONTENT.replace('",', '"\t')
            .replace("c,", "c\t")
            .replace("text,", "text\t")
            .replace("\U0001f3ac,", "\U0001f3ac\t"),
        ),
        ("a.jsonl.gz", '{"text": "été, too", "label": "1"}\n{"text": "\U0001f3ac", "label": "0"}\n'),
        ("a.json.gz", '{"text": ["été, too", "\U0001f3ac"], "label": ["1", "0"]}'),
    ],
)
def test_compressed_tables(write: Write, name: str, content: str) -> None:
    split = read_table(write(name, gzip.compress(content.encode(), mtime=0)), "text", "label")
    assert (split.texts, split.labels) == (["été, too", "\U0001f3ac"], ["1", "0"])


def test_compressed_lines_to_predict(write: Write) -> None:
    assert read_texts(write("a.txt.gz", gzip.compress(b"good\nbad\n", mtime=0)), "text") == ["good", "bad"]


def test_lines_may_end_in_cr_alone(write: Write) -> None:
    assert read_texts(write("a.txt", "good\rbad\rugly\r"), "text") == ["good", "bad", "ugly"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", CONTENT.encode("utf-16-le"), "is not UTF-8: .*iconv -f utf-16le -t utf-8"),
        ("a.csv", CONTENT.encode("utf-16-be"), "is not UTF-8: .*iconv -f utf-16be -t utf-8"),
        ("a.csv", CONTENT.encode("utf-16")[:-1], "begins like UTF-16 and is not .*: save it as UTF-8"),
        ("a.csv", "text,label\n\u201cgood\u201d,1\n".encode("cp1252"), r"\(line 2, byte 11\): .*iconv -f cp1252"),
        ("a.csv", "text,label\ncafé,1\n".encode("latin1"), r"\(line 2, byte 14\): .*iconv -f latin1"),
        ("a.csv", b"PK\x03\x04\x14\x00", "is a workbook or another zip archive"),
        ("a.csv", gzip.compress(b"text", mtime=0), "is compressed with gzip: end its name in .gz"),
        ("a.jsonl", b"PAR1\x15", "is a Parquet file: end its name in .parquet"),
        ("a.csv.gz", b"text,label\n", "cannot decompress .*a.csv.gz"),
        ("a.csv.gz", gzip.compress(CONTENT.encode(), mtime=0)[:-9], "cannot decompress .*a.csv.gz"),
        ("a.csv.gz", b"", "a.csv.gz is empty"),
    ],
)
def test_what_is_no_utf8_gets_the_advice_that_fits(write: Write, name: str, content: bytes, message: str) -> None:
    with pytest.raises(UserError, match=message) as refused:
        read_table(write(name, content), "text", "label")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("cut", range(8))
def test_a_bad_byte_is_found_wherever_the_pieces_end(write: Write, monkeypatch: pytest.MonkeyPatch, cut: int) -> None:
    monkeypatch.setattr(text_files, "_CHUNK", 5)
    content = b"x" * cut + "é€\U0001f3ac".encode()
    assert text_files.read_utf8(write("a.csv", content)) == content.decode()
    with pytest.raises(UserError, match=rf"byte {len(content)}\)"):
        text_files.read_utf8(write("b.csv", content + b"\xe9abc"))
    with pytest.raises(UserError, match=rf"byte {len(content)}\)"):
        text_files.read_utf8(write("c.csv", content + b"\xe2\x82"))
