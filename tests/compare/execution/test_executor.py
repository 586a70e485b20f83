import pytest

from peft_lightning.compare.execution.executor import require_gpus
from peft_lightning.errors import UserError


@pytest.mark.parametrize("asked", [None, 1, 4])
def test_a_cluster_is_asked_for_as_many_gpus_as_a_run_takes(asked: int | None) -> None:
    with pytest.raises(UserError, match=r"runs take 2 GPUs each .* is asked for [14]: say gpus: 2"):
        require_gpus(2, asked, ["auto"])
    require_gpus(2, 2, ["auto"])
    require_gpus(1, asked, ["auto"])
    require_gpus(2, asked, ["cpu"])
