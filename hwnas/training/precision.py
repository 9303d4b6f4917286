"""In what precision a step computes: float32 on CPUs, autocast to 16 bits on GPUs. Weights stay float32."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler


@dataclass(frozen=True)
class Precision:
    """What products of a step are computed in; for fp16 losses are scaled, as their gradients would vanish."""

    device: torch.device
    dtype: torch.dtype
    scaler: GradScaler

    @classmethod
    def of(cls, device: torch.device, dtype: torch.dtype) -> Self:
        """A precision on a device."""
        return cls(device, dtype, GradScaler(device.type, enabled=dtype == torch.float16))

    @classmethod
    def best(cls, device: torch.device) -> Self:
        """bf16 on GPUs that compute in it, fp16 on others; float32 on CPUs, where autocast is slower."""
        if device.type == "cpu":
            return cls.of(device, torch.float32)
        return cls.of(device, torch.bfloat16 if torch.cuda.is_bf16_supported(False) else torch.float16)

    def autocast(self) -> AbstractContextManager[Any]:
        """The context in which a step's forwards and backwards are run."""
        if self.dtype == torch.float32:
            return nullcontext()
        # No cache of converted weights: its graphs end with the first backward, and a step has several.
        return torch.autocast(self.device.type, self.dtype, cache_enabled=False)

    @contextmanager
    def scaling(self, net: nn.Module) -> Iterator[None]:
        """Scale all gradients that enter a net through its logits: recipes call `backward` themselves."""
        if not self.scaler.is_enabled():
            yield
            return
        handle = net.register_forward_hook(lambda _net, _args, logits: self._scaled(logits.float()))
        try:
            yield
        finally:
            handle.remove()

    def _scaled(self, logits: Tensor) -> Tensor:
        if logits.requires_grad:
            logits.register_hook(self.scaler.scale)
        return logits
