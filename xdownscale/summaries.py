"""What a fitted model says of itself, as text and as HTML."""

from __future__ import annotations

import html
from typing import Any

from xdownscale.groups import Fitted


def facts(fitted: Fitted) -> list[tuple[str, str]]:
    """Return what a fitted model learnt from, as (name, sentence) pairs.

    Parameters
    ----------
    fitted : Fitted
        The model.

    Returns
    -------
    list of (str, str)
    """
    about, config = fitted.about, fitted.config
    fine_days, coarse_days = about["days"]
    sizes = " x ".join(str(n) for n in fitted.carried.shape[1:])
    coarse = " x ".join(str(n) for n in fitted.coarse_grid.shape)
    models = fitted.models.values()
    one = next(iter(models))
    variables = [f"{t.name or 'unnamed'} [{t.attrs.get('units', '?')}]" for t in fitted.targets]
    return [
        ("variable" if len(variables) == 1 else "variables", ", ".join(variables)),
        *([("drivers", ", ".join(fitted.drivers))] if len(fitted.drivers) > 1 else []),
        ("fine", f"{sizes} cells, {fine_days} days, {' to '.join(about['fine_period'])}"),
        ("coarse", f"{coarse} cells, {coarse_days} days, {' to '.join(about['coarse_period'])}"),
        ("pairing", f"{about['pairing']} ({about['pairing_reason']})"),
        ("groups", ", ".join(fitted.models)),
        (
            "method",
            f"{config.method}, network {config.network.size}, encoder {config.network.encoder}, "
            f"{config.data.lags} lags, {sum(m.parameters for m in models):,} weights",
        ),
        *_taken_over(about),
        ("transform", "; ".join(s.reason or s.transform for s in one.scalings)),
        ("skill", _skill(about.get("skill") or {}, about["pairing"])),
        ("fingerprint", f"{about['fingerprint'][:12]}, seed {about['seed']}"),
    ]


def _taken_over(about: dict[str, Any]) -> list[tuple[str, str]]:
    """Where the encoder is from, if not from these records."""
    taken = {
        f"{origin['fingerprint'][:12]} ({' to '.join(origin['coarse_period'])})"
        for origin in (about.get("encoder") or {}).values()
    }
    return [("encoder", f"taken over from {', '.join(sorted(taken))}")] if taken else []


def as_text(fitted: Fitted) -> str:
    """Return the repr of a fitted model."""
    lines = [f"    {name:<12} {value}" for name, value in facts(fitted)]
    return "\n".join(["<xdownscale.Downscaler>", *lines])


def as_html(fitted: Fitted) -> str:
    """Return the repr of a fitted model for Jupyter."""
    cell = "<td style='text-align:left;padding:2px 12px 2px 0;vertical-align:top'>"
    rows = "".join(
        f"<tr>{cell}<b>{html.escape(name)}</b></td>{cell}{html.escape(value)}</td></tr>"
        for name, value in facts(fitted)
    )
    return f"<div><div><b>xdownscale.Downscaler</b></div><table>{rows}</table></div>"


def _skill(scores: dict[str, float], pairing: str) -> str:
    if pairing == "self":
        return "not measured (the coarse record shows other days)"
    if not scores:
        return "not measured (no validation days)"
    listed = ", ".join(f"{name} {value:.3f}" for name, value in scores.items())
    return f"{listed} (one realization, a few validation days)"
