"""A block computes, counts and exports what the same block written by hand in torch does."""

import io
import warnings
from collections import Counter

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from lut.blocks import Block, Conv, Linear, MBConv, Pool, PooledLinear, chain
from lut.layers import Layer, random_weights
from profilers.backends import litert
from profilers.formats import HSWISH_FORMS, Form, write
from profilers.graph import Array

ACTIVATIONS = {
    "none": lambda x: x,
    "relu": F.relu,
    "relu6": F.relu6,
    "hswish": F.hardswish,
    "hsigmoid": F.hardsigmoid,
}


class TorchBlock(nn.Module):
    """Blocks as their papers draw them: MobileNetV2 figure 4, MobileNetV3 section 5. Shares no code with `lut`.

    With `folded`, batch norm is left out and every convolution has a bias.
    """

    def __init__(self, block: Block, folded: bool = False) -> None:
        super().__init__()
        self.block, self.folded = block, folded
        match block:
            case Conv(i, o, _, k, s, _, norm):
                self.conv = self._conv(i, o, k, s, norm=norm)
            case MBConv(i, o, _, mid, k, s, se):
                self.expand = self._conv(i, mid) if mid != i else None
                self.depthwise = self._conv(mid, mid, k, s, groups=mid)
                squeezed = max(8, (mid // 4 + 4) // 8 * 8)
                if squeezed < 0.9 * (mid // 4):
                    squeezed += 8
                self.se_reduce = nn.Conv2d(mid, squeezed, 1) if se else None
                self.se_expand = nn.Conv2d(squeezed, mid, 1) if se else None
                self.project = self._conv(mid, o)
            case Linear(i, o):
                self.linear = nn.Linear(i, o)

    def _conv(self, i: int, o: int, k: int = 1, s: int = 1, groups: int = 1, norm: bool = True) -> nn.Module:
        if self.folded:
            return nn.Conv2d(i, o, k, s, k // 2, groups=groups)
        conv = nn.Conv2d(i, o, k, s, k // 2, groups=groups, bias=False)
        return nn.Sequential(conv, nn.BatchNorm2d(o)) if norm else conv

    def forward(self, x: Tensor) -> Tensor:
        match self.block:
            case Conv(act=act):
                return ACTIVATIONS[act](self.conv(x))
            case Pool():
                return F.adaptive_avg_pool2d(x, 1)
            case PooledLinear():
                return self.linear(F.adaptive_avg_pool2d(x, 1).flatten(1))
            case Linear():
                return self.linear(x.flatten(1))
            case MBConv(act=act, stride=stride, in_chs=i, out_chs=o):
                y = ACTIVATIONS[act](self.expand(x)) if self.expand is not None else x
                y = ACTIVATIONS[act](self.depthwise(y))
                if self.se_reduce is not None and self.se_expand is not None:
                    gate = F.relu(self.se_reduce(F.adaptive_avg_pool2d(y, 1)))
                    y = y * F.hardsigmoid(self.se_expand(gate))
                y = self.project(y)
                return x + y if stride == 1 and i == o else y
        raise AssertionError(f"a new kind of block: write {self.block.kind} down here as its paper draws it")

    def load(self, weights: dict[str, tuple[Array, Array]]) -> None:
        for name, (weight, bias) in weights.items():
            layer = self.get_submodule(name)
            layer.weight.data = torch.from_numpy(weight).reshape(layer.weight.shape)
            layer.bias.data = torch.from_numpy(bias)


chs = st.sampled_from([1, 3, 8, 16, 24])
acts = st.sampled_from(sorted(ACTIVATIONS))
kernels, strides, hws = st.sampled_from([1, 3, 5, 7]), st.sampled_from([1, 2]), st.integers(1, 14)
STRATEGIES = {
    "conv": st.builds(Conv, chs, chs, hws, kernels, strides, acts, st.booleans()),
    "mbconv": st.builds(MBConv, chs, chs, hws, st.sampled_from([8, 24, 72]), kernels, strides, st.booleans(), acts),
    "pool": chs.flatmap(lambda c: st.builds(Pool, st.just(c), st.just(c), hws)),
    "linear": st.builds(Linear, chs, chs, st.just(1)),
    "pooled_linear": st.builds(PooledLinear, chs, chs, st.integers(1, 8)),
}


def any_block() -> st.SearchStrategy[Block]:
    return st.one_of(*(STRATEGIES[kind] for kind in Block.kinds))


def test_every_kind_of_block_is_tested_here() -> None:
    assert set(STRATEGIES) == set(Block.kinds)


def image(block: Block, batch: int = 1) -> Array:
    return np.random.default_rng(5).standard_normal((batch, block.in_chs, block.hw, block.hw), dtype=np.float32)


class Recorded(dict[str, tuple[Array, Array]]):
    """Random weights, and what they were, by layer."""

    def __init__(self, seed: int) -> None:
        self.draw = random_weights(np.random.default_rng(seed))

    def __call__(self, layer: Layer) -> tuple[Array, Array]:
        self[layer.name] = self.draw(layer)
        return self[layer.name]


def run(content: bytes, x: Array) -> Array:
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 3, 1
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    (y,) = session.run(None, {"input": x})
    return y


@settings(max_examples=80, deadline=None)
@given(
    block=any_block(),
    batch=st.integers(1, 2),
    hswish=st.sampled_from(HSWISH_FORMS),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_block_in_onnx_runtime_and_in_litert_computes_what_torch_computes(
    block: Block, batch: int, hswish: str, seed: int
) -> None:
    weights = Recorded(seed)
    graph = chain([(block, weights)], batch)
    reference, x = TorchBlock(block, folded=True), image(block, batch)
    reference.load(weights)
    with torch.no_grad():
        expected = reference(torch.from_numpy(x)).numpy()
    form = Form("fp32", hswish)
    for y in (run(write(graph, "onnx", form).content, x), litert.compute(write(graph, "tflite", form).content, x)):
        assert y.shape == expected.shape == graph.output.shape
        assert np.abs(y - expected).max() <= 1e-4


@settings(max_examples=60, deadline=None)
@given(block=any_block())
def test_params_are_those_of_the_torch_module_with_batch_norm(block: Block) -> None:
    assert block.params == sum(parameter.numel() for parameter in TorchBlock(block).parameters())


@settings(max_examples=60, deadline=None)
@given(block=any_block())
def test_macs_are_those_that_hooks_count_in_torch(block: Block) -> None:
    counted = []

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        counted.append(output.numel() * module.weight[0].numel())  # each output element sums over one filter

    reference = TorchBlock(block, folded=True)
    for module in reference.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(count)
    with torch.no_grad():
        output = reference(torch.zeros(1, block.in_chs, block.hw, block.hw))
    assert block.macs == sum(counted)
    assert (block.out_chs, block.out_hw) == (output.shape[1], output.shape[2] if output.ndim == 4 else 1)


EXPORTED: list[Block] = [
    Conv(3, 16, 16, 3, 2, "hswish"),
    Conv(16, 24, 8, 1, 1, "relu6"),
    Conv(16, 24, 1, 1, 1, "hswish", norm=False),
    Conv(16, 24, 8, 1, 1, "none"),
    MBConv(16, 16, 16, 16, 3, 1, False, "relu"),
    MBConv(16, 24, 16, 64, 5, 2, False, "relu6"),
    MBConv(24, 24, 8, 96, 7, 1, True, "hswish"),
    MBConv(24, 40, 8, 72, 5, 2, True, "relu"),
    Pool(24, 24, 7),
    Linear(24, 10, 1),
]


@pytest.mark.parametrize("block", EXPORTED, ids=lambda block: block.key)
def test_the_file_holds_the_operations_that_torch_exports(block: Block) -> None:
    file, module = io.BytesIO(), TorchBlock(block).eval()
    for parameter in module.parameters():
        nn.init.normal_(parameter)  # the exporter makes one of equal weights, and an Identity for each use
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter with the cleanest graphs is the deprecated one
        example = torch.from_numpy(image(block))
        torch.onnx.export(module, (example,), file, dynamo=False, opset_version=17)
    theirs, ours = file.getvalue(), write(chain([(block, random_weights(np.random.default_rng(0)))]), "onnx").content
    # Bounds of a Clip and the like are nodes there and initializers here; a runtime reads both as data.
    of_theirs, of_ours = (Counter(n.op_type for n in onnx.load_from_string(f).graph.node) for f in (theirs, ours))
    del of_theirs["Constant"]
    assert of_ours == of_theirs


def test_a_chain_runs_its_blocks_one_after_the_other() -> None:
    blocks = [Conv(3, 8, 9, 3, 2, "relu"), MBConv(8, 8, 5, 24, 3, 1, True, "hswish"), Pool(8, 8, 5), Linear(8, 4, 1)]
    parts = [(block, Recorded(seed)) for seed, block in enumerate(blocks)]
    graph, x = chain(parts), image(blocks[0])
    y = torch.from_numpy(x)
    with torch.no_grad():
        for block, weights in parts:
            reference = TorchBlock(block, folded=True)
            reference.load(weights)
            y = reference(y)
    assert np.abs(run(write(graph, "onnx").content, x) - y.numpy()).max() <= 1e-4
    assert np.abs(litert.compute(write(graph, "tflite").content, x) - y.numpy()).max() <= 1e-4
