"""Benchmarks of speed: ratios measured in one run, with their spread."""
