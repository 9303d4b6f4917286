import numpy as np
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


def lived_in(space):
    """A supernet whose statistics and kernel transforms are not those of a fresh one."""
    net, rng = Supernet(space).eval(), torch.Generator().manual_seed(1)
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


GOLDEN_NAMES = {
    "expand": "inverted_bottleneck", "depthwise": "depth_conv", "project": "point_linear",
    "se_reduce": "depth_conv.se.fc.reduce", "se_expand": "depth_conv.se.fc.expand",
}  # fmt: skip
GOLDEN_SLOTS = {"stem": "first_conv", "first": "blocks.0.conv", "final_expand": "final_expand_layer",
                "feature_mix": "feature_mix_layer", "classifier": "classifier"}  # fmt: skip


def golden_tensors(weights, slot, layer):
    """The peer's tensors of one layer of ours, under our names."""
    if slot in GOLDEN_SLOTS and slot != "first":
        prefix = GOLDEN_SLOTS[slot]
    else:
        stage, block = (int(slot[1]), int(slot[3])) if slot != "first" else (0, 0)
        number = (stage - 1) * 4 + block if slot != "first" else 0
        prefix = f"blocks.{number}.conv.{GOLDEN_NAMES[layer]}"
    endings = {"weight": "weight", "bias": "bias", "bn.weight": "scale", "bn.bias": "bias", "bn.running_mean": "mean",
               "bn.running_var": "var", "7to5_matrix": "transforms.to5", "5to3_matrix": "transforms.to3"}  # fmt: skip
    found = {}
    for key, value in weights.items():
        rest = key.removeprefix(prefix + ".")
        if rest == key or (layer == "depthwise" and rest.startswith("se.")):
            continue
        for wrapper in ("conv.conv.", "conv.", "linear.", "bn."):
            if rest.startswith(wrapper) and (wrapper != "bn." or rest.startswith("bn.bn.")):
                rest = rest.removeprefix(wrapper)
        found[endings[rest]] = torch.from_numpy(value)
    return found


@torch.no_grad()
def test_the_supernet_computes_what_once_for_all_computes_from_its_weights(shared_data):
    golden = np.load(shared_data / "ofa_golden" / "mobilenet_v3.npz")
    weights = {key.removeprefix("sd/"): golden[key] for key in golden.files if key.startswith("sd/")}
    space = open_space("ofa-mbv3@0.25", resolutions=(golden["x"].shape[-1],), classes=10)
    net = Supernet(space).eval()
    for slot, block in space.layers(space.largest).items():
        for layer in block.layers:
            module = net.elastic(slot).layers[layer.name]
            found = golden_tensors(weights, slot, layer.name)
            found["weight"] = found["weight"].reshape(module.weight.shape)
            module.load_state_dict(found)
    import json

    for subnet, expected in zip(json.loads(str(golden["subnets"])), golden["y"], strict=True):
        arch = golden_arch(space, subnet)
        logits = net(torch.from_numpy(golden["x"]), arch)
        np.testing.assert_allclose(logits.numpy(), expected, atol=1e-5)
        assert count_params(net.extract(arch)) == subnet["params"]


def golden_arch(space, subnet):
    kernels, expands = (v if isinstance(v, list) else [v] * 20 for v in (subnet["ks"], subnet["e"]))
    depths = subnet["d"] if isinstance(subnet["d"], list) else [subnet["d"]] * 5
    values = [space.resolutions[0]]
    for stage, depth in enumerate(depths):
        values.append(depth)
        for block in range(stage * 4, stage * 4 + 4):
            values += [kernels[block], expands[block]]
    return space.parse(f"{space.name}:{'-'.join(map(str, values))}")


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
