"""once-for-all's ProxylessNAS space (Cai et al., ICLR 2020), which its authors use at width 1.3.

21 searchable blocks: five stages of two to four and one of one, with expansions of 3, 4 or 6. No SE, no h-swish.
"""

from hwnas.spaces.proxyless import ProxylessSpace
from lut.blocks import Block, Conv, Linear, Pool


class OFAProxylessSpace(ProxylessSpace):
    """ProxylessNAS's stages, of elastic depth, with pool and classifier as blocks of their own."""

    def head(self, chs: int, hw: int) -> dict[str, Block]:
        """Mixing layer, pool, classifier."""
        return {
            "feature_mix": Conv(chs, self._mixed_chs, hw, 1, 1, "relu6"),
            "pool": Pool(self._mixed_chs, self._mixed_chs, hw),
            "classifier": Linear(self._mixed_chs, self.classes, 1),
        }


def build(width: float, resolutions: tuple[int, ...], classes: int | None) -> OFAProxylessSpace:
    """The space at a width multiplier; 224 pixels and 1000 classes where nothing else is asked."""
    return OFAProxylessSpace(
        "ofa-proxyless", width=width, resolutions=resolutions or (224,), classes=classes or 1000,
        depths=(2, 3, 4), expands=(3, 4, 6), skips=False,
    )  # fmt: skip
