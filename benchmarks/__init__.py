"""Speed benchmarks, ratios in one run."""
