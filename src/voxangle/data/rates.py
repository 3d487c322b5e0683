"""Recordings by the rate that their file has, in words."""

from __future__ import annotations

from collections.abc import Mapping

from voxangle.audio import SAMPLE_RATE

__all__ = ["resampling_note", "upsampling_note"]


def resampling_note(rates: Mapping[int, int]) -> str:
    """How many are not at 16 kHz and so are resampled, by rate; empty where none is.

    Args:
        rates: how many utterances come from a file of this rate, in Hz.
    """
    others = {rate: count for rate, count in sorted(rates.items()) if rate != SAMPLE_RATE}
    if not others:
        return ""
    counts = ", ".join(f"{rate:,} Hz: {count:,}" for rate, count in others.items())
    share = f"{sum(others.values()):,} of {sum(rates.values()):,} utterances"
    low = upsampling_note(others)
    return f"{share} resampled to {SAMPLE_RATE:,} Hz, from {counts}" + (f"; {low}" if low else "")


def upsampling_note(rates: Mapping[int, int]) -> str:
    """How many lie below 16 kHz, and what that means; empty where none does."""
    low = {rate: count for rate, count in rates.items() if rate < SAMPLE_RATE}
    if not low:
        return ""
    return (
        f"{sum(low.values()):,} of less than {SAMPLE_RATE:,} Hz: upsampled, and empty above "
        f"{' or '.join(f'{rate // 2:,}' for rate in sorted(low))} Hz"
    )
