"""Several processes train what one would train, and if one of them dies, nothing is lost and one line says so."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import distributed

from hwnas.training.distributed import ALONE, Processes, joined
from hwnas.training.noise import Noise
from hwnas.training.shares import Share
from hwnas.training.weights import read_tensors

STEPS = 20
TRAIN = ["-m", "hwnas", "train", "--space", "digits@0.1", "--batch", "16", "--steps", str(STEPS), "--lr", "0.5"]
TRAIN += ["--recipe", "attentive", "--json"]  # decides by losses: processes must agree on them, too
TWO = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
SUPERNET = "supernets/digits@0.1-digit-pairs"
DEADLINE_S = 200

slow = [pytest.mark.slow, pytest.mark.skipif(os.name == "nt", reason="torch has no gloo with signals on Windows")]


def start(command, folder):
    folder.mkdir(exist_ok=True)
    environment = {**os.environ, "HWNAS_WORKSPACE": str(folder), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, *command], stdout=pipe, stderr=pipe, text=True, env=environment, cwd=folder
    )


def finish(command, folder):
    with start(command, folder) as process:
        output, errors = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0, errors
    return json.loads(output)  # of several processes, one alone prints a result


def said(errors):
    return [line for line in errors.splitlines() if line.startswith("hwnas: ")]


def losses(folder):
    with (folder / SUPERNET / "metrics.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    assert [int(row["step"]) for row in found] == list(range(1, STEPS + 1))
    names = [name for name in found[0] if name.startswith("loss ")]
    return torch.tensor([[float(row[name]) for name in names] for row in found])


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    finish(TRAIN, folder)
    return folder


class TestTwo:
    pytestmark = slow

    def test_processes_train_what_one_does_with_the_same_global_batch(self, tmp_path, alone):
        finish([*TWO, *TRAIN], tmp_path)
        expected = losses(alone)
        assert float((expected[0] - expected[-1]).abs().max()) > 0.05  # something was learned
        torch.testing.assert_close(losses(tmp_path), expected, rtol=0, atol=1e-4)
        mine, header = read_tensors(tmp_path / SUPERNET / "supernet.safetensors")
        theirs, of_one = read_tensors(alone / SUPERNET / "supernet.safetensors")
        assert header == of_one
        for name, tensor in theirs.items():
            torch.testing.assert_close(mine[name], tensor, rtol=0, atol=5e-3, msg=name)  # rounding grows

    @pytest.mark.parametrize("rank", [0, 1])
    def test_processes_end_with_one_line_if_one_dies_and_a_single_one_goes_on(self, tmp_path, alone, rank):
        checkpoint = tmp_path / SUPERNET / "checkpoint.safetensors"
        with start([*TWO, *TRAIN, "--checkpoint-every", "0.001s"], tmp_path) as process:
            deadline = time.monotonic() + DEADLINE_S
            while not checkpoint.exists() and process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.01)
            os.kill(child(process.pid, rank), signal.SIGKILL)
            output, errors = process.communicate(timeout=DEADLINE_S)
        assert process.returncode != 0 and not output
        (line,) = said(errors)
        assert "another of these processes" in line or "interrupted" in line  # torchrun ends what is left
        assert 0 < read_tensors(checkpoint)[1]["step"] < STEPS
        finish(TRAIN, tmp_path)
        torch.testing.assert_close(losses(tmp_path), losses(alone), rtol=0, atol=1e-4)

    def test_processes_refuse_a_batch_they_cannot_share_with_one_line(self, tmp_path):
        with start([*TWO, *TRAIN, "--batch", "15"], tmp_path) as process:
            _, errors = process.communicate(timeout=DEADLINE_S)
        (line,) = said(errors)
        assert process.returncode != 0 and "15 images cannot be cut evenly for 2 processes" in line
        assert not (tmp_path / SUPERNET).exists()


def child(parent, rank):
    """The process of a rank, among the children of torchrun."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    for process in children:
        if f"RANK={rank}" in Path(f"/proc/{process}/environ").read_text().split("\0"):
            return int(process)
    raise AssertionError(f"torchrun has no process of rank {rank}")


@pytest.fixture
def group():
    """A process group of one, which shares statistics with nobody."""
    store = distributed.HashStore()
    distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield Processes(torch.device("cpu"), 0, 2, store)
    distributed.destroy_process_group()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_shared_norm_of_one_process_is_the_norm_that_torch_has(group, dtype):
    rng = torch.Generator().manual_seed(0)
    images = (3 * torch.randn(6, 4, 5, 5, generator=rng) + 1).to(dtype)
    towards = torch.randn(6, 4, 5, 5, generator=rng)
    found = []
    for context in (group.norms(), ALONE.norms()):
        x, weight, bias = images.clone().requires_grad_(), torch.tensor([1.0, -2, 0.5, 0]), torch.arange(4.0)
        weight, bias, mean, var = weight.requires_grad_(), bias.requires_grad_(), torch.zeros(4), torch.ones(4)
        with context:
            y = F.batch_norm(x, mean, var, weight, bias, True, 0.3, 1e-3)
        (y * towards).sum().backward()
        found.append((y.detach(), x.grad, weight.grad, bias.grad, mean, var))
    mine, torchs = found
    for ours, theirs in zip(mine, torchs, strict=True):
        tolerance = {"rtol": 1e-4, "atol": 1e-4} if dtype == torch.float32 else {"rtol": 2e-2, "atol": 5e-2}
        torch.testing.assert_close(ours, theirs, **tolerance)


def test_norms_in_eval_mode_are_left_alone(group):
    x, mean, var = torch.randn(2, 3, 4, 4), torch.randn(3), torch.rand(3)
    with group.norms():
        found = F.batch_norm(x, mean, var)
    assert torch.equal(found, F.batch_norm(x, mean, var))


def test_one_process_shares_nothing_and_speaks():
    with joined(0, 1, 0) as processes:
        assert processes.first and processes.alone and processes.speaks()
        assert processes.agreed(0.1) == 0.1 and processes.shared(b"x") == b"x"
        assert processes.mean({"a": 0.1}) == {"a": 0.1}


def test_what_the_first_process_says_reaches_a_group_unchanged(group):
    assert group.agreed(0.1) == 0.1
    assert [group.shared(content) for content in (b"", b"\0\xff" * 500)] == [b"", b"\0\xff" * 500]


def test_of_processes_that_fail_together_the_first_to_fail_speaks(group):
    assert [group.speaks() for _ in range(3)] == [True, False, False]


def test_gradients_are_averaged_and_those_that_are_not_there_stay_so(group):
    net = torch.nn.Linear(3, 2)
    net.weight.grad = torch.full((2, 3), 4.0)
    group.average_gradients(net, parts=1)
    assert torch.equal(net.weight.grad, torch.full((2, 3), 2.0)) and net.bias.grad is None  # the group's world is two


@pytest.mark.parametrize("finite", [False, True])
def test_shares_of_a_batch_are_the_batch_and_each_image_is_decoded_once(finite):
    class Numbered(Noise):
        def batch(self, _, index, size):
            drawn.append(size)
            return np.arange(index * size, (index + 1) * size, dtype=np.float32), np.zeros(size, np.int64)

    class Counted(Numbered):
        def count(self, _):
            return 1000

        def images(self, *_):
            raise NotImplementedError

    drawn, data = [], (Counted if finite else Numbered)((1, 8, 8), ("a",))
    shares = [Share(data, rank, 3).batch("train", 4, 12)[0] for rank in range(3)]
    assert np.concatenate(shares).tolist() == list(range(48, 60))
    assert [len(share) for share in shares] == [4, 4, 4]
    assert drawn == ([4, 4, 4] if finite else [12, 12, 12])
