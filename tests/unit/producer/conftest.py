"""Hypothesis without a deadline: on a machine that runs servers too, a slow example is no failure."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("tickhouse", deadline=None)
settings.load_profile("tickhouse")
