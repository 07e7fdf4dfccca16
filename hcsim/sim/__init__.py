"""The simulated world. SimPy lives here and nowhere else."""

from hcsim.sim.environment import LaneEnvironment
from hcsim.sim.world import Simulation

__all__ = ["LaneEnvironment", "Simulation"]
