"""Training in several processes, each on its share of every batch, that together do what one would do alone.

All of them hold the same weights, draw the same subnets, and take the same step. Three things are shared: the
statistics of batch norms, the mean of the gradients, and what the first process decides. Gradients are averaged by
hand, once a step, rather than by DistributedDataParallel: that expects one backward per forward over all parameters,
while a step here has several, of subnets that use other parameters each. Parameters that no subnet of a step used
have no gradient in any process, so they stay as they are, momentum included, as in a single one.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor, distributed, nn
from torch.distributed.rendezvous import rendezvous
from torch.overrides import TorchFunctionMode

from profilers.errors import InvalidInputError, LostError

PATIENCE = timedelta(minutes=30)  # how long processes wait for each other: the first one writes files meanwhile


@dataclass(frozen=True)
class Processes:
    """The processes of a training, seen from one of them."""

    device: torch.device
    rank: int = 0
    world: int = 1
    store: Any = None  # what they all reach as long as whoever started them lives

    @property
    def first(self) -> bool:
        """Whether this process writes the files, prints, and decides."""
        return self.rank == 0

    @property
    def alone(self) -> bool:
        """Whether there is no other."""
        return self.world == 1

    def speaks(self) -> bool:
        """Whether this process tells the user that the training failed: one of those that are left does."""
        if self.alone:
            return True
        try:
            return bool(self.store.add("failed", 1) == 1)
        except RuntimeError:  # whoever started them is gone
            return self.first

    def agreed(self, value: float) -> float:
        """The first process' value."""
        if self.alone:
            return value
        shared = torch.tensor(value, dtype=torch.float64, device=self.device)
        distributed.broadcast(shared, 0)
        return float(shared.item())

    def shared(self, content: bytes) -> bytes:
        """The first process' bytes."""
        if self.alone:
            return content
        size = int(self.agreed(len(content)))
        mine = torch.zeros(size, dtype=torch.uint8)
        if self.first:
            mine = torch.frombuffer(bytearray(content), dtype=torch.uint8) if content else mine
        mine = mine.to(self.device)
        if size:
            distributed.broadcast(mine, 0)
        return mine.cpu().numpy().tobytes()

    def norms(self) -> AbstractContextManager[Any]:
        """The context in which batch norms take their statistics over the batches of all processes."""
        return nullcontext() if self.alone else _SharedNorms()

    def mean(self, values: Mapping[str, float]) -> dict[str, float]:
        """The means over all processes, by name."""
        if self.alone:
            return dict(values)
        total = torch.tensor(list(values.values()), dtype=torch.float64, device=self.device)
        distributed.all_reduce(total)
        return dict(zip(values, (total / self.world).tolist(), strict=True))

    def average_gradients(self, net: nn.Module, parts: int) -> None:
        """Make of gradients that were summed over so many parts their means over the parts of all processes."""
        gradients = [parameter.grad for parameter in net.parameters() if parameter.grad is not None]
        if self.world * parts == 1 or not gradients:
            return
        # One buffer: a call for each of hundreds of small tensors would cost more than what they hold.
        together = torch.cat([gradient.reshape(-1) for gradient in gradients])
        if not self.alone:
            distributed.all_reduce(together)
        together /= self.world * parts
        slices = together.split([gradient.numel() for gradient in gradients])
        for gradient, mean in zip(gradients, slices, strict=True):
            gradient.copy_(mean.view(gradient.shape))


ALONE: Final = Processes(torch.device("cpu"))


class _SharedNorms(TorchFunctionMode):
    """Within this context, batch norms in training mode take their statistics over the batches of all processes.

    Every process must run the same nets on equally many images, in the same order.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Call `func`, or what stands for it."""
        return (_batch_norm if func is F.batch_norm else func)(*args, **(kwargs or {}))


def _batch_norm(
    x: Tensor,
    mean: Tensor | None,
    var: Tensor | None,
    weight: Tensor,
    bias: Tensor,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    if not training:
        return F.batch_norm(x, mean, var, weight, bias, False, momentum, eps)
    found: tuple[Tensor, Tensor, Tensor, int] = _SharedNorm.apply(x, weight, bias, eps)  # type: ignore[no-untyped-call]
    y, batch_mean, batch_var, count = found
    if mean is not None and var is not None:
        mean.lerp_(batch_mean.to(mean.dtype), momentum)
        var.lerp_((batch_var * (count / (count - 1))).to(var.dtype), momentum)
    return y


class _SharedNorm(torch.autograd.Function):
    """Batch norm of (B, C, H, W) over the images of all processes (Ioffe & Szegedy 2015, algorithm 1)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor, int]:
        world = distributed.get_world_size()
        var, mean = torch.var_mean(x.float(), dim=(0, 2, 3), correction=0)
        mine = torch.stack([mean, var])
        of_all = [torch.empty_like(mine) for _ in range(world)]
        distributed.all_gather(of_all, mine)
        means, variances = torch.stack(of_all).unbind(dim=1)  # (processes, C) each
        mean = means.mean(dim=0)
        var = (variances + (means - mean) ** 2).mean(dim=0)  # as all have equally many images
        ctx.save_for_backward(x, weight, mean, (var + eps).rsqrt())
        ctx.count = x.numel() // x.shape[1] * world
        ctx.mark_non_differentiable(mean, var)
        return F.batch_norm(x, mean, var, weight, bias, False, 0.0, eps), mean, var, ctx.count

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        x, weight, mean, scale = ctx.saved_tensors
        gradient = gradients[0].float()
        normed = (x.float() - _wide(mean)) * _wide(scale)
        mine = torch.stack([gradient.sum(dim=(0, 2, 3)), (gradient * normed).sum(dim=(0, 2, 3))])
        # The gradients of weight and bias stay this process' own: they are averaged with all others.
        of_bias, of_weight = mine.clone()
        distributed.all_reduce(mine)
        through_mean, through_var = mine / ctx.count
        inner = gradient - _wide(through_mean) - normed * _wide(through_var)
        of_x = inner * _wide(scale * weight.float())
        return of_x.to(x.dtype), of_weight.to(weight.dtype), of_bias.to(weight.dtype), None


def _wide(per_channel: Tensor) -> Tensor:
    return per_channel[None, :, None, None]


@contextmanager
def joined(rank: int, world: int, local_rank: int) -> Iterator[Processes]:
    """Meet the other processes that torchrun started, or be alone.

    Within, an operation that fails because another process is gone raises LostError; raises InvalidInputError if there
    are fewer GPUs than processes.
    """
    if torch.cuda.is_available() and local_rank >= torch.cuda.device_count():
        raise InvalidInputError(
            f"there is no GPU for process {local_rank + 1} on this machine: start {torch.cuda.device_count()}"
        )
    device = torch.device("cuda", local_rank) if torch.cuda.is_available() else torch.device("cpu")
    if world == 1:
        yield Processes(device)
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    try:
        store, _, _ = next(rendezvous("env://", rank, world, timeout=PATIENCE))
        backend = "nccl" if device.type == "cuda" else "gloo"
        distributed.init_process_group(backend, store=store, rank=rank, world_size=world, timeout=PATIENCE)
        yield Processes(device, rank, world, store)
    except RuntimeError as error:
        # Only some of torch's errors of this kind have a type of their own.
        if isinstance(error, distributed.DistError) or "gloo" in str(error):
            raise LostError(
                "another of these processes ended, or does not answer: see what it said; what was saved is intact, and "
                "the same command goes on from there"
            ) from error
        raise
    finally:
        if distributed.is_initialized():
            distributed.destroy_process_group()
