import csv
import io
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from peft_lightning.data.sources.quoting import Quoting
from peft_lightning.data.sources.tables import read_table, read_texts
from peft_lightning.errors import UserError

Write = Callable[[str, str | bytes], Path]


def unquoted(texts: Sequence[str], separator: str = "\t", line_end: str = "\n") -> str:
    """A file as GLUE's TSVs are written: no character has a meaning but the separator and the line's end."""
    rows = [f"{text}{separator}{'np'[n % 2]}" for n, text in enumerate(texts)]
    return "".join(row + line_end for row in (f"text{separator}label", *rows))


def quoted(rows: Sequence[Sequence[str]], separator: str, quoting: int) -> str:
    file = io.StringIO(newline="")
    csv.writer(file, delimiter=separator, quoting=quoting, lineterminator="\n").writerows(rows)  # type: ignore[arg-type]
    return file.getvalue()


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\n\n"], ids=["LF", "CRLF", "blank lines"])
@pytest.mark.parametrize("suffix", [".tsv", ".csv"])
@pytest.mark.parametrize(
    "texts",
    [
        ['"one opens', "b", 'and "another" one', "d"],
        ["a", "b", "c", '"the last one opens'],
        ['"a pair opens', "b", 'and one closes"', "d"],
        ["a", '"two rows open', "b", '"two rows open', "c"],
        ['"', "a lone mark", '"', "b"],
        ['"enclosed"', '"open', "c", "d"],
        ['""doubled"" at both ends', "b"],
        ['"a" and "b"', "c"],
        ['5" pipe', 'a 5" pipe', 'it is 5"'],
    ],
)
def test_a_mark_in_a_file_without_quoting_swallows_no_row(
    write: Write, texts: list[str], suffix: str, line_end: str
) -> None:
    texts = ["an ordinary text", "and another", *texts]
    content = unquoted(texts, "\t" if suffix == ".tsv" else ",", line_end)
    split = read_table(write(f"tweets{suffix}", content), "text", "label")
    assert (split.texts, split.labels) == (texts, ["np"[n % 2] for n in range(len(texts))])


def test_predictions_belong_to_their_texts(write: Write) -> None:
    content = 'text\tid\n"I liked it a lot\t1\nboring\t2\ndull"\t3\ngreat\t4\n'
    assert read_texts(write("a.tsv", content), "text") == ['"I liked it a lot', "boring", 'dull"', "great"]


@pytest.mark.parametrize("order", [("text", "label"), ("label", "text"), ("id", "text", "label")])
@pytest.mark.parametrize("separator", [",", "\t"], ids=["csv", "tsv"])
@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL], ids=["where needed", "everywhere"])
def test_a_quoted_file_is_read_as_it_was_written(
    write: Write, order: tuple[str, ...], separator: str, quoting: int
) -> None:
    draw = random.Random(1)
    words = ["good", "bad", 'the "plot"', "so,", "a\tb", "end.\nNew", "end.\r\n\r\nNew", '"', "film"]
    rows = [
        {"id": str(n), "text": f"{n} {' '.join(draw.choices(words, k=6))} .", "label": draw.choice("np")}
        for n in range(60)
    ]
    content = quoted([order, *([row[name] for name in order] for row in rows)], separator, quoting)
    split = read_table(write("a.csv" if separator == "," else "a.tsv", content), "text", "label")
    assert (split.texts, split.labels) == ([row["text"] for row in rows], [row["label"] for row in rows])


def test_a_text_whose_lines_look_like_rows_but_for_their_labels_is_a_text(write: Write) -> None:
    split = read_table(write("a.csv", 'text,label\n"Good, bad\nugly, too",1\nfoo,0\n'), "text", "label")
    assert (split.texts, split.labels) == (["Good, bad\nugly, too", "foo"], ["1", "0"])


AMBIGUOUS = 'text,id\n"I liked it,1\nboring,2\ndull",3\ngreat,4\n'


def test_what_could_be_one_text_or_several_rows_is_refused_with_both_ways_on(write: Write) -> None:
    path = write("a.csv", "\n" + AMBIGUOUS)
    message = r"row 1 of .*a.csv \(line 3\) is one text of 3 lines .* or 3 rows .*quoting='minimal' or quoting='none'"
    with pytest.raises(UserError, match=message):
        read_texts(path, "text")


@pytest.mark.parametrize(
    ("quoting", "texts"),
    [("minimal", ["I liked it,1\nboring,2\ndull", "great"]), ("none", ['"I liked it', "boring", 'dull"', "great"])],
)
def test_the_user_says_how_it_was_written(write: Write, quoting: Quoting, texts: list[str]) -> None:
    assert read_texts(write("a.csv", AMBIGUOUS), "text", quoting) == texts


@pytest.mark.parametrize(
    ("content", "quoting", "message"),
    [
        # The second row has a comma too many for a file without quoting, the first a mark too many for one with it.
        (
            'text,label\n"good,p\nbad, so bad,n\n',
            "auto",
            r"row 1 of .* is not closed, and .* line 3 has 3 columns, not 2",
        ),
        (
            '"text","label"\n"good","p"\n"bad,"n"\n',
            "auto",
            r"row 2 of .*\(line 3\) has a quotation mark that is not closed",
        ),
        ('text,label\n"good ""p""",p\nbad,n\n"so,n\n"fine ""m""",n\n', "auto", r"row 3 of .*\(line 4\) .* not closed"),
        ('text,label\n"a \\"good\\" film",p\nbad,n\n', "auto", r"row 1 of .* escaped with a backslash: write .* twice"),
        ('text,label\ngood,p\n"bad,n\n', "minimal", r"row 2 of .*not closed: close it.* or take all .*quoting='none'"),
    ],
)
def test_a_broken_row_is_named(write: Write, content: str, quoting: Quoting, message: str) -> None:
    with pytest.raises(UserError, match=message) as refused:
        read_table(write("a.csv", content), "text", "label", quoting)
    assert "\n" not in str(refused.value)


def test_a_blank_line_of_a_single_column_is_a_row_without_a_text(write: Write) -> None:
    with pytest.raises(UserError, match=r"the text in row 2 of .*a.tsv is blank"):
        read_texts(write("a.tsv", "text\ngood\n\nbad\n\n\n"), "text")
    assert read_texts(write("b.tsv", "\ntext\ngood\nbad\n\n\n"), "text") == ["good", "bad"]
    assert read_texts(write("c.tsv", "\ntext\tid\n\ngood\t1\n\nbad\t2\n\n"), "text") == ["good", "bad"]
