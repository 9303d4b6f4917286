import numpy as np
import pytest
import torch

from hwnas.export.lower import lower
from hwnas.export.parity import max_difference
from hwnas.nets.supernet import Supernet
from hwnas.spaces import open_space
from profilers.errors import UntrustedError
from profilers.formats import write

NET = Supernet(open_space("digits", classes=10)).eval()
IMAGES = torch.randn(5, 1, 40, 40, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_a_faithful_file_of_any_batch_size_passes(batch):
    subnet = NET.extract(NET.space.smallest)
    assert 0 <= max_difference(subnet, write(lower(subnet, batch), "onnx"), IMAGES) < 1e-5


@pytest.mark.parametrize("wrong", [1e-2, float("nan")])
def test_a_file_of_other_weights_is_not_shipped(wrong):
    subnet = NET.extract(NET.space.smallest)
    model = write(lower(subnet), "onnx")
    with torch.no_grad():
        next(parameter for name, parameter in subnet.named_parameters() if name.endswith("bias")).add_(wrong)
        list(subnet.parameters())[-1].add_(wrong)
    with pytest.raises(UntrustedError, match="differs from the net"):
        max_difference(subnet, model, IMAGES)


def test_the_last_images_of_a_batch_that_is_not_full_count_too():
    subnet = NET.extract(NET.space.smallest)
    images = IMAGES.clone()
    images[-1] = float(np.nan)
    with pytest.raises(UntrustedError):
        max_difference(subnet, write(lower(subnet, 4), "onnx"), images)
