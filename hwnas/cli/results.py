"""How candidates and specialised nets are shown as tables."""

from collections.abc import Sequence
from typing import Any

from hwnas.cli.display import show_table
from hwnas.cli.values import in_ms


def show_candidates(found: Sequence[dict[str, Any]]) -> None:
    """What `search` found, a row a budget."""
    rows = [
        [in_ms(f["budget_ms"]), in_ms(f["predicted_ms"]), _percent(f["validation_accuracy"]), *_sizes(f), f["arch"]]
        for f in found
    ]
    show_table("Candidates", ["budget", "predicted", "validation accuracy", "MACs", "params", "architecture"], rows)


def show_specialised(found: Sequence[dict[str, Any]]) -> None:
    """What `specialize` made, a row a budget."""
    rows = [
        [
            in_ms(f["budget_ms"]), in_ms(f["predicted_ms"]), in_ms(f["measured_ms"]),
            f"{f['interval_ms'][0]:.4g} - {f['interval_ms'][1]:.4g} ms", _percent(f["accuracy"]), *_sizes(f),
            f["bundle"],
        ]
        for f in found
    ]  # fmt: skip
    columns = ["budget", "predicted", "measured", "95 % interval", "test accuracy", "MACs", "params", "bundle"]
    show_table("Specialised nets", columns, rows)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _sizes(facts: dict[str, Any]) -> tuple[str, str]:
    return f"{facts['macs'] / 1e6:.2f} M", f"{facts['params'] / 1e3:.0f} k"
