"""What the pipeline costs: `python -m tests.benchmarks`. Figures come from here, never from a timed test."""
