"""torch answers as the table of tests/differences.py says; another torch than 2.13 may have changed its mind."""

import differences
import pytest
from require import require

torch = require("torch")


def torch_names():
    dtypes = {name: getattr(torch, name) for name in ("float16", "bfloat16", "float64", "int64", "complex64")}
    return dtypes | {
        "conv_transpose2d": torch.nn.functional.conv_transpose2d,
        "conv2d": torch.nn.functional.conv2d,
        "ConvTranspose2d": torch.nn.ConvTranspose2d,
        "ones": lambda *shape, dtype=torch.float32: torch.ones(shape, dtype=dtype),
        "last": lambda tensor: torch.clone(tensor.permute(0, 2, 3, 1), memory_format=torch.contiguous_format).permute(
            0, 3, 1, 2
        ),
        "is_last": lambda tensor: tensor.is_contiguous(memory_format=torch.channels_last),
        "corner": differences.corner,
        "nans": lambda tensor: int(tensor.isnan().sum()),
    }


@pytest.mark.filterwarnings("ignore")
@pytest.mark.skipif(not torch.__version__.startswith("2.13."), reason="the table is about torch 2.13")
@pytest.mark.parametrize(("what", "code", "theirs", "ours"), differences.rows(), ids=[r[0] for r in differences.rows()])
def test_torch_answers_as_the_table_says(what, code, theirs, ours):
    assert differences.outcome(code, torch_names()) in theirs.split(" or ")
