"""Why the objective does what it does: figures from the logs, the checkpoints and the recordings of real runs."""
