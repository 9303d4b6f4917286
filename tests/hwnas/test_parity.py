import numpy as np
import pytest
import torch

from hwnas.export.lower import lower
from hwnas.export.parity import max_difference
from hwnas.nets.static import StaticNet
from hwnas.nets.supernet import Supernet
from hwnas.spaces import open_space
from profilers import formats
from profilers.errors import UntrustedError
from profilers.formats import HSWISH_FORMS, Form, write

NET = Supernet(open_space("digits", classes=10)).eval()
IMAGES = torch.randn(5, 1, 40, 40, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("format", formats.names())
@pytest.mark.parametrize("batch", [1, 2, 7])
def test_a_faithful_file_of_any_batch_size_passes(batch, format):
    subnet = NET.extract(NET.space.smallest)
    assert 0 <= max_difference(subnet, write(lower(subnet, batch), format), IMAGES) < 1e-5


def as_if_trained(net: StaticNet, rng: np.random.Generator) -> StaticNet:
    """With batch norms that do something, each in its own way."""
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            draw = torch.from_numpy(rng.uniform(-1, 1, (4, module.num_features)).astype(np.float32))
            module.running_mean, module.running_var = draw[0] / 4, 1 + draw[1] / 4
            module.weight.data, module.bias.data = 1 + draw[2] / 4, draw[3] / 4
    return net.eval()


@pytest.mark.parametrize(("space", "subnets"), [("digits", 5), ("ofa-mbv3", 2)])
def test_whole_subnets_compute_the_same_in_torch_and_in_every_format(space, subnets):
    resolution = {"digits": 40, "ofa-mbv3": 64}[space]
    net, rng = Supernet(open_space(space, resolutions=(resolution,), classes=10)), np.random.default_rng(0)
    images = torch.from_numpy(rng.standard_normal((3, net.space.image_chs, resolution, resolution), np.float32))
    for row in net.space.sample(subnets, rng):
        subnet = as_if_trained(net.extract(net.space.arch(row)), rng)
        with torch.no_grad():
            assert subnet(images).std() > 0.01  # logits that say something
        graph = lower(subnet, batch=2)
        for format in formats.names():
            for hswish in HSWISH_FORMS:
                difference = max_difference(subnet, write(graph, format, Form("fp32", hswish)), images)
                assert difference <= 1e-4, (format, hswish)


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
