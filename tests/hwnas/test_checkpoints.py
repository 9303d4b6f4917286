"""Published supernets: read however their keys are spelled, equal to what their authors compute, written back."""

import json
import re
import zipfile

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from hwnas.nets.ofa_naming import plain, published_tensors
from hwnas.nets.supernet import Supernet
from hwnas.spaces import open_space
from hwnas.training.checkpoints import export_checkpoint, import_checkpoint
from profilers.errors import InvalidInputError

SPACE = open_space("digits@0.1", resolutions=(8,), classes=5)
NETWORKS = {"mobilenet_v3": "ofa-mbv3", "proxylessnas": "ofa-proxyless"}


@pytest.fixture(params=NETWORKS)
def golden(request, shared_data):
    """Arrays that once-for-all computed itself from random weights, and the space of the network."""
    path = shared_data / "ofa_golden" / f"{request.param}.npz"
    hw = np.load(path)["x"].shape[-1]
    return path, open_space(f"{NETWORKS[request.param]}@0.25", resolutions=(hw,), classes=10)


@pytest.fixture
def checkpoint(tmp_path):
    """A supernet and a published file of it."""
    net, path = Supernet(SPACE, seed=7), tmp_path / "published.pth"
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(parameter.numel())))
    export_checkpoint(net, path)
    return net.eval(), path


def state_dict(path):
    return torch.load(path, weights_only=True)["state_dict"]


def same_tensors(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def arch_of(space, subnet):
    """A subnet of the golden file; what the space has no choice of, it lists all the same."""
    values = [space.resolutions[0]]
    count = {"kernel": iter(range(99)), "expand": iter(range(99)), "depth": iter(range(99))}
    listed = {"kernel": subnet["ks"], "expand": subnet["e"], "depth": subnet["d"]}
    for dimension in space.dimensions[1:]:
        kind = dimension.name.rpartition(".")[2]
        number = next(count[kind])
        values.append(listed[kind][number] if isinstance(listed[kind], list) else listed[kind])
    return space.parse(f"{space.name}:{'-'.join(map(str, values))}")


@torch.no_grad()
def test_every_subnet_computes_what_once_for_all_computes_and_has_as_many_parameters(golden):
    path, space = golden
    arrays, net = np.load(path), import_checkpoint(path, space)
    images = torch.from_numpy(arrays["x"])
    for subnet, expected in zip(json.loads(str(arrays["subnets"])), arrays["y"], strict=True):
        arch = arch_of(space, subnet)
        static = net.extract(arch)
        for logits in (net(images, arch), static(images)):
            np.testing.assert_allclose(logits.numpy(), expected, rtol=0, atol=1e-5)
        assert sum(parameter.numel() for parameter in static.parameters()) == subnet["params"]


@pytest.mark.parametrize("name", ["out.pth", "out.safetensors"])
def test_a_published_checkpoint_is_written_back_as_it_was_key_by_key_and_bit_by_bit(golden, tmp_path, name):
    path, space = golden
    export_checkpoint(import_checkpoint(path, space), tmp_path / name)
    found = load_file(tmp_path / name) if name.endswith("safetensors") else state_dict(tmp_path / name)
    arrays = np.load(path)
    theirs = {key.removeprefix("sd/"): torch.from_numpy(arrays[key]) for key in arrays.files if key.startswith("sd/")}
    assert same_tensors(found, theirs)


@pytest.mark.parametrize("name", ["digits", "ofa-mbv3@0.25", "ofa-proxyless@0.25", "proxyless@0.25"])
def test_every_tensor_of_a_supernet_has_one_key_and_the_shape_it_is_published_with(name):
    space = open_space(name)
    state, tensors = Supernet(space).state_dict(), published_tensors(space)
    assert {tensor.name for tensor in tensors} == state.keys() and len({plain(t.key) for t in tensors}) == len(state)
    assert all(np.prod(tensor.shape) == state[tensor.name].numel() for tensor in tensors)


SPELLINGS = {
    "as written": lambda key: key,
    "older branch": lambda key: key.replace(".conv.", ".mobile_inverted_conv.", 1) if "blocks" in key else key,
    "one level of norms": lambda key: key.replace(".bn.bn.", ".bn."),
    "one level of convolutions": lambda key: key.replace(".conv.conv.", ".conv."),
    "two levels everywhere": lambda key: re.sub(
        r"(?<!\.bn)\.bn\.(?!bn)", ".bn.bn.", key.replace("classifier.linear.", "classifier.linear.linear.")
    ),
    "plain": plain,
}


def save_npz(tensors, path):
    with path.open("wb") as file:
        np.savez(file, **{key: tensor.numpy() for key, tensor in tensors.items()})


CONTAINERS = {
    "torch": torch.save,
    "torch, wrapped": lambda tensors, path: torch.save({"state_dict": tensors, "epoch": 3}, path),
    "torch before 1.6": lambda tensors, path: torch.save(tensors, path, _use_new_zipfile_serialization=False),
    "safetensors": save_file,
    "npz": save_npz,
    "npz beside others": lambda tensors, path: save_npz(
        {f"sd/{key}": tensor for key, tensor in tensors.items()} | {"x": torch.ones(2)}, path
    ),
}


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_file_is_read_however_it_spells_its_keys_and_whatever_holds_them(checkpoint, spelling, container, tmp_path):
    net, published = checkpoint
    tensors = {SPELLINGS[spelling](key): tensor for key, tensor in state_dict(published).items()}
    path = tmp_path / "ofa_d234_e346_k357"  # published files have no suffix
    CONTAINERS[container](tensors, path)
    found = import_checkpoint(path, SPACE)
    assert same_tensors(found.state_dict(), net.state_dict()) and not found.training


def test_counters_of_batches_are_known_and_left_out(checkpoint):
    net, path = checkpoint
    tensors = state_dict(path)
    counters = [key.replace("running_mean", "num_batches_tracked") for key in tensors if "running_mean" in key]
    torch.save(tensors | {key: torch.tensor(9) for key in counters}, path)
    assert same_tensors(import_checkpoint(path, SPACE).state_dict(), net.state_dict())


def named(text):
    """Every key that a message names; blocks.{1,2}.x is two."""
    waiting = re.split(r",? |; ", text)
    while waiting:
        word = waiting.pop()
        braces = re.search(r"\{(.*?)\}", word)
        if braces:
            waiting += [word.replace(braces[0], part, 1) for part in braces[1].split(",")]
        else:
            yield word


TENSORS = published_tensors(SPACE)
KEYS = [tensor.key for tensor in TENSORS]


@given(st.sets(st.sampled_from(KEYS), max_size=9), st.sets(st.sampled_from(["a.b", "blocks.4.x", "blocks.5.x"])))
@settings(max_examples=25, deadline=None)
def test_every_key_that_lacks_or_is_not_understood_is_named(tmp_path_factory, lacking, foreign):
    path = tmp_path_factory.getbasetemp() / "some-keys.pth"
    tensors = {tensor.key: torch.ones(tensor.shape) for tensor in TENSORS if tensor.key not in lacking}
    torch.save(tensors | {key: torch.ones(1) for key in foreign}, path)
    if not lacking and not foreign:
        import_checkpoint(path, SPACE)
        return
    with pytest.raises(InvalidInputError) as error:
        import_checkpoint(path, SPACE)
    assert {plain(key) for key in lacking} | foreign <= set(named(str(error.value)))
    assert not {plain(key) for key in set(KEYS) - lacking} & set(named(str(error.value)))


@pytest.mark.parametrize(
    ("asked", "classes", "told"),
    [
        ("ofa-mbv3@0.25", 5, ("(24, 3, 3, 3)", "(8, 3, 3, 3)", " more; ", "give --width 1.2 --classes 7")),
        ("ofa-mbv3@1.2", 5, ("(7, 1536)", "(5, 1536)", "it tells 7 classes apart: give --classes 7")),
        ("ofa-proxyless@1.2", 7, ("it lacks", "feature_mix_layer.bn", "not understood is", "--space ofa-mbv3")),
    ],
)
def test_weights_of_other_sizes_are_refused_with_the_likely_reason(tmp_path, asked, classes, told):
    path = tmp_path / "published.pth"
    published = published_tensors(open_space("ofa-mbv3@1.2", classes=7))
    torch.save({tensor.key: torch.ones(tensor.shape, dtype=torch.half) for tensor in published}, path)
    with pytest.raises(InvalidInputError) as error:
        import_checkpoint(path, open_space(asked, classes=classes))
    assert all(part in str(error.value) for part in told) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "content",
    [b"", b"\x80", b"PK\x03\x04", b"\x08\0\0\0\0\0\0\0{nothing", b"\x80\x02]q\0.", b"text, no tensors"],
)
def test_what_is_no_checkpoint_is_refused(tmp_path, content):
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(InvalidInputError, match=re.escape(str(path))):
        import_checkpoint(path, SPACE)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.999])
def test_a_checkpoint_that_was_cut_off_is_refused(checkpoint, share):
    _, path = checkpoint
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(InvalidInputError, match="is damaged"):
        import_checkpoint(path, SPACE)


def test_a_file_that_is_not_there_and_a_folder_are_refused(tmp_path):
    for path in (tmp_path / "nothing", tmp_path):
        with pytest.raises(InvalidInputError, match="cannot be read"):
            import_checkpoint(path, SPACE)


class Bomb:
    """Code that runs when a file is unpickled by anything that trusts it."""

    exploded = False

    def __reduce__(self):
        return setattr, (Bomb, "exploded", True)


def test_code_in_a_file_is_not_run(tmp_path):
    torch.save({"state_dict": {"first_conv.conv.weight": Bomb()}}, tmp_path / "bomb.pth")
    with pytest.raises(InvalidInputError, match="other things than tensors"):
        import_checkpoint(tmp_path / "bomb.pth", SPACE)
    assert not Bomb.exploded


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda tensor: tensor * float("nan"), "no finite"),
        (lambda tensor: tensor.to(torch.int8), "no finite"),
        (lambda tensor: tensor.tolist(), "is no tensor"),
        (lambda tensor: tensor.sum(), r"is \(\)"),
    ],
)
def test_weights_that_are_no_weights_are_refused_by_name(checkpoint, change, told):
    _, path = checkpoint
    tensors = state_dict(path)
    tensors["classifier.linear.bias"] = change(tensors["classifier.linear.bias"])
    torch.save(tensors, path)
    with pytest.raises(InvalidInputError, match=f"classifier.linear.bias.*{told}"):
        import_checkpoint(path, SPACE)


def test_a_tensor_under_two_names_is_refused(checkpoint):
    _, path = checkpoint
    tensors = state_dict(path)
    key = next(key for key in tensors if ".bn.bn." in key)
    torch.save(tensors | {plain(key): tensors[key]}, path)
    with pytest.raises(InvalidInputError, match=re.escape(f"{plain(key)} under two names")):
        import_checkpoint(path, SPACE)


def test_a_checkpoint_is_written_in_a_format_that_others_read(checkpoint, tmp_path):
    with pytest.raises(InvalidInputError, match=r"\.pth or \.safetensors"):
        export_checkpoint(checkpoint[0], tmp_path / "out.onnx")


def test_a_network_that_once_for_all_does_not_have_has_no_names_there(monkeypatch):
    space = open_space("digits")
    head = space.head
    monkeypatch.setattr(space, "head", lambda chs, hw: {f"own_{s}": block for s, block in head(chs, hw).items()})
    with pytest.raises(InvalidInputError, match="a block own_final_expand"):
        published_tensors(space)


def prefixed(*prefixes):
    return lambda tensors: {"".join(prefixes) + key: tensor for key, tensor in tensors.items()}


def zeros(tensors):
    return {key: torch.zeros_like(tensor) for key, tensor in tensors.items()}


@pytest.mark.parametrize(
    ("wrap", "taken"),
    [
        (prefixed("module."), ""),
        (prefixed("_orig_mod."), ""),
        (prefixed("module.", "_orig_mod."), ""),
        (prefixed("_orig_mod.", "module.", "net."), ""),
        (lambda tensors: {key.replace("blocks.1.", "blocks.1._orig_mod."): t for key, t in tensors.items()}, ""),
        (lambda tensors: {"model": tensors, "optimizer": {"state": {}}, "epoch": 7}, ""),
        (lambda tensors: {"net": {"state_dict": prefixed("module.")(tensors)}}, ""),
        (lambda tensors: {"n_averaged": torch.tensor(4), **prefixed("module.")(tensors)}, ""),
        (
            lambda tensors: {"state_dict": zeros(tensors), "state_dict_ema": tensors},
            "_ema (and not state_dict",
        ),
        (lambda tensors: {"model": zeros(tensors), "ema": {"module": tensors}}, "ema (and not model"),
        (
            lambda tensors: prefixed("model.")(zeros(tensors)) | prefixed("model_ema.")(tensors),
            "model_ema (and not model",
        ),
    ],
)
def test_weights_are_found_behind_prefixes_and_wrappers(checkpoint, tmp_path, wrap, taken):
    net, published = checkpoint
    torch.save(wrap(state_dict(published)), tmp_path / "file.pth")
    said = []
    found = import_checkpoint(tmp_path / "file.pth", SPACE, said.append)
    assert same_tensors(found.state_dict(), net.state_dict())
    assert [taken in line for line in said] == ([True] if taken else [])


FOREIGN = {
    "a ResNet of torchvision or timm": ["conv1.weight", "layer1.0.conv1.weight", "layer1.0.bn1.bias", "fc.bias"],
    "timm's EfficientNet": ["conv_stem.weight", "blocks.0.0.conv_dw.weight", "classifier.bias"],
    "EfficientNet-PyTorch's": ["_conv_stem.weight", "_blocks.0._depthwise_conv.weight", "_fc.bias"],
    "torchvision's MobileNet": ["features.0.0.weight", "features.1.block.0.0.weight", "classifier.0.bias"],
    "once-for-all's ResNet50": ["input_stem.0.conv.conv.weight", "blocks.0.conv1.conv.weight"],
    "a vision transformer": ["cls_token", "patch_embed.proj.weight", "blocks.0.attn.qkv.weight"],
}


@pytest.mark.parametrize("name", FOREIGN)
def test_the_network_of_foreign_names_is_told_in_a_bounded_line(tmp_path, name):
    many = [f"odd_{number}.\x1b[31m{'x' * 300}" for number in range(500)]
    for prefix in ("", "module."):
        torch.save({prefix + key: torch.ones(1) for key in FOREIGN[name] + many}, tmp_path / "file.pth")
        with pytest.raises(InvalidInputError, match=f"its names are those of {name}") as refused:
            import_checkpoint(tmp_path / "file.pth", SPACE)
        assert len(str(refused.value)) < 2500 and str(refused.value).isprintable()


@pytest.mark.parametrize("kind", ["sparse", "meta", "nested", "quantised"])
@pytest.mark.filterwarnings("ignore")
def test_tensors_that_are_not_plain_are_refused_by_name(checkpoint, tmp_path, kind):
    make = {
        "sparse": lambda t: t.to_sparse(),
        "meta": lambda t: t.to("meta"),
        "nested": lambda t: torch.nested.nested_tensor([t]),
        "quantised": lambda t: torch.quantize_per_tensor(t, 0.1, 0, torch.qint8),
    }[kind]
    tensors = state_dict(checkpoint[1])
    tensors["classifier.linear.bias"] = make(tensors["classifier.linear.bias"])
    torch.save(tensors, tmp_path / "file.pth")
    with pytest.raises(InvalidInputError, match=r"file\.pth") as refused:
        import_checkpoint(tmp_path / "file.pth", SPACE)
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 400


def test_a_compressed_archive_is_not_unpacked_into_memory(checkpoint, tmp_path):
    with (
        zipfile.ZipFile(checkpoint[1]) as plain,
        zipfile.ZipFile(tmp_path / "file.pth", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for name in plain.namelist():
            packed.writestr(name, plain.read(name))
    with pytest.raises(InvalidInputError, match="compressed archive"):
        import_checkpoint(tmp_path / "file.pth", SPACE)
