"""A local Deribit simulator: a deterministic market behind the public endpoints that the pipeline uses.

It shares no code with `extract.deribit`, so that each checks the other. It listens on loopback only, and
every reply carries the header `X-Perps-Simulator`, so that simulated candles cannot pass for real ones.
"""

from __future__ import annotations

from extract.simulator.server import RunningSimulator, SimulatorConfig, running, serve

__all__ = ["RunningSimulator", "SimulatorConfig", "running", "serve"]
