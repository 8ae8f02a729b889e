"""The scenarios: each module has `run(stage, results, plan)`, which measures and adds to the results."""
