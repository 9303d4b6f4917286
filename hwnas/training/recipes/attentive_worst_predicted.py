"""Attentive sampling of the worst by a predictor: as `attentive-predicted`, but what lags behind is trained.

(AttentiveNAS, Wang et al. 2021, section 4, "WorstUp-K" by a predictor.)
"""

from hwnas.training.recipes.attentive_predicted import AttentivePredicted


def build() -> AttentivePredicted:
    """The recipe that picks the worst; it knows no losses yet."""
    return AttentivePredicted(best=False)
