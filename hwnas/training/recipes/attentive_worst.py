"""Attentive sampling of the worst: as `attentive`, but of subnets of equal MACs the one that lags behind is trained.

(AttentiveNAS, Wang et al. 2021, section 4, "WorstUp".) A net that all are good in ranks its subnets better.
"""

from hwnas.training.recipes.attentive import Attentive


def build() -> Attentive:
    """The recipe that picks the worst."""
    return Attentive(best=False)
