import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from hwnas.export.lower import lower
from hwnas.nets.elastic import ElasticLayer
from hwnas.nets.static import StaticNet
from hwnas.nets.supernet import Supernet
from hwnas.spaces import open_space
from hwnas.training.evaluate import recalibrate
from profilers.formats import write

SPACE = open_space("digits", classes=10)
IMAGES = torch.randn(4, 1, 40, 40, generator=torch.Generator().manual_seed(0))

archs = st.integers(0, 2**32 - 1).map(lambda seed: SPACE.arch(SPACE.sample(1, np.random.default_rng(seed))[0]))


def lived_in(space, seed=1):
    """A supernet whose statistics and kernel transforms are not those of a fresh one."""
    net, rng = Supernet(space).eval(), torch.Generator().manual_seed(seed)
    for module in net.modules():
        if isinstance(module, ElasticLayer):
            if module.largest.norm:
                module.mean.normal_(generator=rng)
                module.var.uniform_(0.5, 2, generator=rng)
                module.scale.data.uniform_(0.5, 1.5, generator=rng)
            for transform in module.transforms.values():
                transform.data += 0.1 * torch.randn(transform.shape, generator=rng)
    return net


NET = lived_in(SPACE)


def count_params(net):
    return sum(parameter.numel() for parameter in net.parameters())


@given(archs)
@settings(max_examples=30, deadline=None)
@torch.no_grad()
def test_an_extracted_subnet_equals_the_supernet_to_the_last_bit(arch):
    assert torch.equal(NET(IMAGES, arch), NET.extract(arch)(IMAGES))


@given(archs, archs)
@settings(max_examples=10, deadline=None)
@torch.no_grad()
def test_running_one_architecture_leaves_no_trace_on_another(first, second):
    before = NET(IMAGES, second)
    NET(IMAGES, first)
    assert torch.equal(before, NET(IMAGES, second))


@given(archs)
@settings(max_examples=10, deadline=None)
def test_a_subnet_has_the_parameters_its_blocks_say(arch):
    assert count_params(NET.extract(arch)) == sum(block.params for block in SPACE.layers(arch).values())


def test_a_subnet_is_a_copy_that_further_training_does_not_touch():
    net = Supernet(SPACE).eval()
    subnet = net.extract(SPACE.smallest)
    before = subnet(IMAGES)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(1.0)
    assert torch.equal(before, subnet(IMAGES))


@given(archs)
@settings(max_examples=5, deadline=None)
def test_training_a_subnet_gives_gradients_to_the_weights_it_uses_and_no_others(arch):
    net = lived_in(SPACE).train()
    net(IMAGES, arch).sum().backward()
    blocks = SPACE.layers(arch)
    for slot in SPACE.layers(SPACE.largest):
        for name, layer in net.elastic(slot).layers.items():
            gradient = layer.weight.grad
            used = {part.name: part for part in blocks[slot].layers} if slot in blocks else {}
            if name not in used:
                assert gradient is None or not gradient.any()
            else:
                assert gradient[: used[name].out_chs].any() and not gradient[used[name].out_chs :].any()


@given(archs)
@settings(max_examples=8, deadline=None)
@torch.no_grad()
def test_the_exported_file_computes_what_the_subnet_computes(arch):
    import onnxruntime

    subnet = NET.extract(arch)
    session = onnxruntime.InferenceSession(write(lower(subnet), "onnx").content, providers=["CPUExecutionProvider"])
    for image in IMAGES:
        (found,) = session.run(None, {"input": image[None].numpy()})
        np.testing.assert_allclose(found, subnet(image[None]).numpy(), atol=1e-4)


def test_recalibrated_statistics_are_those_of_all_images_at_once():
    """Of the first norm exactly, whose input no other norm has touched; torch's own averages fall short of it."""
    net = NET.extract(SPACE.smallest)
    # Batches that differ in contrast, so that much of the spread is between them.
    batches = [torch.randn(8, 1, 40, 40, generator=torch.Generator().manual_seed(i)) * i + 3 * i for i in (1, 2, 3)]
    first = next(module for module in net.modules() if isinstance(module, nn.BatchNorm2d))
    stem = next(module for module in net.modules() if isinstance(module, nn.Conv2d))
    with torch.no_grad():
        inputs = stem(torch.cat(batches))
    recalibrate(net, batches)
    torch.testing.assert_close(first.running_mean, inputs.mean((0, 2, 3)))
    torch.testing.assert_close(first.running_var, inputs.var((0, 2, 3)))
    within = torch.stack([stem(batch).var((0, 2, 3)) for batch in batches]).mean(0)
    assert within.sum() < 0.8 * first.running_var.sum()
    assert not net.training


def fresh_copy(net):
    """A supernet of the same weights that has not run yet."""
    copy = Supernet(net.space)
    copy.load_state_dict({name: tensor.clone() for name, tensor in net.state_dict().items()})
    return copy.eval()


def transform(net):
    """The matrix that leads to the smallest kernels of the last searchable block."""
    return net.elastic("s3b1").layers["depthwise"].transforms.to3


def train_a_step(net):
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    with torch.enable_grad():
        net.train()(IMAGES, SPACE.smallest).square().mean().backward()
    optimizer.step()
    net.eval()


@torch.no_grad()
def step_in_eval_mode(net):
    with torch.enable_grad():
        net(IMAGES, SPACE.smallest).square().mean().backward()
    torch.optim.SGD(net.parameters(), lr=0.1).step()


CHANGES = {
    "in place": lambda net: transform(net).add_(1),
    "in place, through .data": lambda net: transform(net).data.add_(1),
    "in place, through numpy": lambda net: np.add(view := transform(net).numpy(), 1, out=view),
    "one weight of the largest kernel": lambda net: net.elastic("s3b1").layers["depthwise"].weight[0, 0, 3].fill_(9),
    "other storage": lambda net: setattr(transform(net), "data", 2 * transform(net).data),
    "load_state_dict": lambda net: net.load_state_dict(lived_in(SPACE, seed=2).state_dict()),
    "load_state_dict, assigned": lambda net: net.load_state_dict(lived_in(SPACE, seed=2).state_dict(), assign=True),
    "training": train_a_step,
    "a step in eval mode": step_in_eval_mode,
}


@pytest.mark.parametrize("change", CHANGES)
@torch.no_grad()
def test_weights_that_change_are_seen_however_they_change(change):
    net = lived_in(SPACE)
    before = net(IMAGES, SPACE.smallest)  # for which every kernel was transformed
    CHANGES[change](net)
    after = net(IMAGES, SPACE.smallest)
    assert torch.equal(after, fresh_copy(net)(IMAGES, SPACE.smallest)) and not torch.equal(after, before)
    assert torch.equal(after, net.extract(SPACE.smallest)(IMAGES))


@torch.no_grad()
def test_another_precision_is_not_answered_with_weights_of_the_one_before():
    net = lived_in(SPACE)
    single = net(IMAGES, SPACE.smallest)
    assert net.double()(IMAGES.double(), SPACE.smallest).dtype == torch.float64
    assert torch.equal(net.float()(IMAGES, SPACE.smallest), single)


@given(archs)
@settings(max_examples=10, deadline=None)
def test_an_answer_is_the_same_with_and_without_gradients(arch):
    with torch.no_grad():
        without = NET(IMAGES, arch)
    assert torch.equal(NET(IMAGES, arch), without)


@torch.no_grad()
def test_in_eval_mode_a_kernel_is_transformed_once(monkeypatch):
    computed, real = [], ElasticLayer._shrink

    def counted(layer, weight, kernel):
        computed.append((id(layer), kernel))
        return real(layer, weight, kernel)

    monkeypatch.setattr(ElasticLayer, "_shrink", counted)
    net = lived_in(SPACE)
    for row in SPACE.sample(20, np.random.default_rng(0)):
        net(IMAGES[:1], SPACE.arch(row))
        net.extract(SPACE.arch(row))
    assert len(computed) == len(set(computed)) > 9
    net.train()(IMAGES, SPACE.smallest)
    net.eval()
    assert not any(layer._shrunk for layer in net.modules() if isinstance(layer, ElasticLayer))


def test_what_was_computed_before_is_no_part_of_the_weights():
    net = lived_in(SPACE)
    before = set(net.state_dict())
    with torch.no_grad():
        net(IMAGES, SPACE.smallest)
    assert set(net.state_dict()) == before


def test_a_static_net_keeps_channels_last_all_the_way():
    """One layer that falls back to the default order makes everything behind it slower by half."""
    net: StaticNet = NET.extract(SPACE.largest)
    x = IMAGES.repeat(1, 1, 1, 1)
    for module in list(net.slots.values())[:-3]:  # up to where images have shrunk to one pixel
        x = module(x)
        assert x.is_contiguous(memory_format=torch.channels_last) and x.stride(1) == 1


def test_the_file_has_the_operations_that_torch_s_own_exporter_writes(tmp_path):
    import warnings
    from collections import Counter

    import onnx

    subnet = NET.extract(SPACE.largest)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = tmp_path / "torch.onnx"
        torch.onnx.export(subnet, (IMAGES[:1],), str(path), opset_version=17, dynamo=False)
    theirs = Counter(node.op_type for node in onnx.load(path).graph.node)
    ours = Counter(node.op_type for node in onnx.load_from_string(write(lower(subnet), "onnx").content).graph.node)
    del theirs["Identity"]  # weights that happen to be equal, shared by name: runtimes remove these
    assert ours == theirs
