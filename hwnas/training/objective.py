"""What a subnet learns from in a step: images at its resolution, and labels, hard or soft. Shared by all recipes."""

import torch
import torch.nn.functional as F
from torch import Tensor, distributed

from hwnas.arch import Arch
from hwnas.nets.supernet import Supernet


def learn(net: Supernet, arch: Arch, images: Tensor, *targets: Tensor) -> float:
    """Add the gradients of a subnet's cross-entropy with each of `targets`, summed, and return that loss.

    Targets are labels (B,) or probabilities (B, classes). Of a teacher's probabilities the cross-entropy is the KL
    divergence from them, up to the teacher's entropy, which has no gradient.
    """
    logits = logits_of(net, arch, images)
    loss = torch.stack([F.cross_entropy(logits, target) for target in targets]).sum()
    loss.backward()
    return loss.item()


def learn_and_teach(net: Supernet, images: Tensor, labels: Tensor) -> tuple[float, Tensor]:
    """Let the largest subnet learn from the labels; its loss, and what it predicted as probabilities (B, classes)."""
    logits = logits_of(net, net.space.largest, images)
    loss = F.cross_entropy(logits, labels)
    loss.backward()
    return loss.item(), logits.detach().softmax(dim=1)


def logits_of(net: Supernet, arch: Arch, images: Tensor) -> Tensor:
    """What `arch` makes of images of its own resolution or a larger one: (B, C, H, W) to (B, classes)."""
    logits: Tensor = net(resized(images, net.space.resolution(arch)), arch)
    return logits


def resized(images: Tensor, hw: int) -> Tensor:
    """Images scaled down to (B, C, hw, hw), bilinearly, each pixel from all that it covers; as they are if small."""
    if images.shape[-1] <= hw:
        return images
    small = F.interpolate(images, size=(hw, hw), mode="bilinear", antialias=True)
    return small.clone(memory_format=torch.channels_last)  # torch keeps the order only where it is not ambiguous


def smoothed(labels: Tensor, classes: int, smoothing: float) -> Tensor:
    """Labels (B,) as probabilities (B, classes) that give `smoothing` to all classes evenly (Szegedy et al. 2016)."""
    return F.one_hot(labels, classes) * (1 - smoothing) + smoothing / classes


def mean_over_ranks(values: Tensor) -> Tensor:
    """The mean over all processes of a distributed training, so that all decide alike; as it is in a single one."""
    if distributed.is_available() and distributed.is_initialized():
        distributed.all_reduce(values)
        values /= distributed.get_world_size()
    return values
