"""Format the steps of a retention plan."""

from __future__ import annotations

from tickhouse.retention.policy import Step

_UNITS = ("B", "kB", "MB", "GB", "TB")


def figure(size: int | None) -> str:
    """Return a number of bytes as text with a unit; empty if the number is not known."""
    if size is None:
        return ""
    value, unit = float(size), 0
    while value >= 1000 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.0f} {_UNITS[unit]}" if unit == 0 else f"{value:.1f} {_UNITS[unit]}"


def step_text(step: Step) -> str:
    """Return one step as a line."""
    return f"{step.action} {step.item}: {step.why}" if step.item else f"{step.action}: {step.why}"
