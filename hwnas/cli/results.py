"""How profiles, candidates and specialised nets are shown as tables."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hwnas.cli.display import out, say, show_table
from hwnas.cli.values import in_ms

if TYPE_CHECKING:
    from hwnas.cli.steps import Job
    from hwnas.profiling import ProfileSummary
    from profilers.errors import HwnasError
    from profilers.measurement import Plan

STOLEN_SHARE = 0.05  # of the time that measuring took; above, a hypervisor may have slowed every visit


def show_candidates(found: Sequence[dict[str, Any]]) -> None:
    """What `search` found, a row an architecture and device."""
    found = _delivered(found)
    rows = [
        [
            _on(f, where, "budget_ms"), _on(f, where, "predicted_ms"),
            "not known" if f["accuracy"] is None else _percent(f["accuracy"]), *_sizes(f), f["arch"],
        ]
        for f in found
        for where in f.get("devices", [f])
    ]  # fmt: skip
    show_table("Candidates", ["budget", "predicted", "accuracy", "MACs", "params", "architecture"], rows)
    for facts in found:
        for point in facts.get("front", []):
            out(f"{point['cost']:.4g}  {point['score']:.4f}  {point['arch']}")
        if "gap" in facts:
            say(
                f"surrogate of error {facts['surrogate_error']:.4f}: optimum {facts['surrogate_optimum']:.4f}, "
                f"none above {facts['surrogate_bound']:.4f}"
            )
    say(f"accuracy: {found[0]['accuracy_of']}; {sum(f['evaluations'] for f in found)} architectures scored")


def _on(facts: dict[str, Any], where: dict[str, Any], key: str) -> str:
    """A latency, with its device where there are several; nothing where no latency was asked for."""
    if key not in where:
        return ""
    return in_ms(where[key]) + (f" on {where['device']}" if "devices" in facts else "")


def show_specialised(found: Sequence[dict[str, Any]]) -> None:
    """What `specialize` made, a row a budget and device."""
    found = _delivered(found)
    if not found:
        return
    rows = [
        [
            _on(f, where, "budget_ms"), in_ms(where["predicted_ms"]), in_ms(where["measured_ms"]),
            f"{where['interval_ms'][0]:.4g} - {where['interval_ms'][1]:.4g} ms", _use(where), _percent(f["accuracy"]),
            *_sizes(f), f["bundle"],
        ]
        for f in found
        for where in f.get("devices", [f])
    ]  # fmt: skip
    columns = ["budget", "predicted", "measured", "95 % interval", "use", "test accuracy", "MACs", "params", "bundle"]
    show_table("Specialised nets", columns, rows)


def _delivered(found: Sequence[dict[str, Any]]) -> Sequence[dict[str, Any]]:
    """Without the budgets for which there is nothing."""
    return [facts for facts in found if "error" not in facts]


def _use(where: dict[str, Any]) -> str:
    """How much of the budget is used; bundles of earlier versions do not say."""
    return f"{100 * where['budget_use']:.0f} %" if "budget_use" in where else ""


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _sizes(facts: dict[str, Any]) -> tuple[str, str]:
    return f"{facts['macs'] / 1e6:.2f} M", f"{facts['params'] / 1e3:.0f} k"


def profile_facts(job: "Job", done: "ProfileSummary | HwnasError", plan: "Plan") -> dict[str, Any]:
    """What came of profiling one device, under the names that `--json` has for it."""
    facts = {"device": job.device.name, "space": job.space.name, "table": str(job.table_path)}
    if isinstance(done, Exception):
        return {**facts, "error": str(done), "exit_code": done.exit_code}
    return {
        **facts,
        "blocks": done.blocks,
        "models": done.models,
        "measured_models": done.measured,
        "unconverged": list(done.unconverged),
        "target_pct": plan.target_pct,
        "calm_pct": done.calm_pct,
        "stolen_s": done.stolen_s,
        "calibration_mean_error_pct": done.calibration.mean_error_pct,
        "calibration_max_error_pct": done.calibration.max_error_pct,
        "seconds": done.seconds,
    }


def show_profiles(found: Sequence[dict[str, Any]]) -> None:
    """What `profile` measured, a row a device; what is still wide, and who failed, on stderr."""
    columns = ["device", "blocks", "converged", "calm visits", "left-out nets: mean error", "largest", "seconds"]
    rows = [
        [
            f["device"], str(f["blocks"]),
            f"{f['models'] - len(f['unconverged'])} of {f['models']} within ±{f['target_pct']:g} %",
            f"{f['calm_pct']:.0f} %", f"{f['calibration_mean_error_pct']:.1f} %",
            f"{f['calibration_max_error_pct']:.1f} %", f"{f['seconds']:.0f}",
        ]
        for f in found
        if "error" not in f
    ]  # fmt: skip
    if rows:
        show_table(found[0]["space"], columns, rows)
    for facts in found:
        _tell_what_lacks(facts)


def _tell_what_lacks(facts: dict[str, Any]) -> None:
    if "error" in facts:
        say(f"{facts['device']}: {facts['error']}")
        return
    if facts["stolen_s"] > STOLEN_SHARE * facts["seconds"]:
        say(
            f"{facts['device']}: a hypervisor gave {facts['stolen_s']:.0f} s of its processors' time to others: it may "
            "never have run at full speed; profile again with --careful when it is quieter"
        )
    wide = facts["unconverged"]
    for name in wide[:3]:
        say(f"{facts['device']}: not within ±{facts['target_pct']:g} %: {name}")
    if len(wide) > 3:
        say(f"{facts['device']}: and {len(wide) - 3} more; the same command goes on measuring them")
