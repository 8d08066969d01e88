"""Blocks of columns of Winograd's product: all channels once, and next to nothing in vain."""

from itertools import pairwise

import pytest

from upconv.codegen.isa import LINE, ROWS
from upconv.schedule.winograd_columns import columned

COUNTS = 1, 16, 24, 33, 40, 72, 80, 96, 112, 136, 144, 160, 192, 208, 272, 320, 384, 400, 528, 1000


@pytest.mark.parametrize("size", [4, 8])
@pytest.mark.parametrize("phases", [1, 2, 4, 8])
@pytest.mark.parametrize("isa", ROWS.values(), ids=list(ROWS))
def test_every_channel_is_in_one_block_and_none_is_computed_in_vain(isa, phases, size):
    line, lanes = LINE // size, isa.lanes(size)
    for count in COUNTS:
        for channels in (line, 4 * line, 16 * line):
            (_, nv), blocks, vectors = columned(isa, size, phases, count, channels)
            ends = [block.first + block.count for block in blocks]
            assert [block.first for block in blocks] == [0, *ends[:-1]]
            assert ends[-1] == count
            assert all(block.first % line == 0 for block in blocks)
            assert all(0 < block.count <= channels for block in blocks)
            # No more blocks than must be, and none wider than another by more than a cache line.
            assert len(blocks) == -(-count // channels)
            assert all(0 <= one.count - after.count < 2 * line for one, after in pairwise(blocks))
            assert blocks[0].count <= -(-count // (line * len(blocks))) * line
            needed = [-(-phases * -(-block.count // lanes) // nv) for block in blocks]
            assert [block.panels for block in blocks] == needed
            assert vectors == nv * sum(needed)
            least = phases * -(-count // lanes)
            # Panels of two vectors may have one too many in each block; of those of AVX-512, some have one.
            assert vectors == least if isa.registers == 32 else vectors <= least + len(blocks)
