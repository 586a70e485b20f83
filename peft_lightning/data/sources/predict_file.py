"""The file that ``predict`` reads."""

from peft_lightning.data.sources.quoting import Quoting
from peft_lightning.data.sources.tables import read_texts
from peft_lightning.data.sources.text_pairs import Texts
from peft_lightning.errors import Setting, UserError
from peft_lightning.runs.given_paths import given_path


def read_predict_file(
    name: str | None, text_column: str, quoting: Quoting = "auto", text_pair_column: str | None = None
) -> Texts:
    """Reads the texts to predict; those of a large file lie on the disk.

    Args:
        name: The file as the settings name it; None where they name none.
        text_column: Name of the column of texts in a table.
        quoting: Whether a quotation mark at the start of a CSV's or TSV's field encloses the field.
        text_pair_column: Name of the column of second texts; None for single texts.

    Raises:
        UserError: If there is no such file, it cannot be read, or has a row without a text.
    """
    if name is None:
        raise UserError("predict needs texts: name their file with ", Setting("data.predict_file", "texts.txt"))
    path = given_path(name)
    if not path.exists():
        raise UserError(f"predict_file {name} does not exist: check the path")
    if not path.is_file():
        raise UserError(f"predict_file {name} is no plain file: name a text file or a table")
    return read_texts(path, text_column, quoting, text_pair_column)
