"""Which images a step sees: decided by the seed, all of it, and by nothing else."""

import pytest
import torch

from stages.data.batches import batch_flips, batch_rows


@pytest.mark.parametrize("other", [1, 2, 2**21, 2**31])
def test_another_seed_is_another_order_and_other_flips(other):
    assert batch_rows(0, 0, 1000, 8).tolist() != batch_rows(other, 0, 1000, 8).tolist()
    assert batch_flips(0, 0, 64).tolist() != batch_flips(other, 0, 64).tolist()


def test_rows_index_tensors_and_flips_choose_between_them():
    rows, flips = batch_rows(5, 3, 40, 8), batch_flips(5, 3, 8)
    assert rows.dtype == torch.int64
    assert rows.shape == (8,)
    assert flips.dtype == torch.bool
    assert flips.shape == (8,)
