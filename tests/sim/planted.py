"""A catalogue of planted bugs: how the tests are tested.

Each is a small edit of the program that breaks a promise. ``test_planted.py`` applies it to a copy, and the simulator
must find it there, by one of the oracles that it names. An edit whose old text is gone fails the test: the catalogue
goes with the code.
"""

from tests.sim.planted_aside import ASIDE
from tests.sim.planted_desk import DESK
from tests.sim.planted_lanes import LANES
from tests.sim.planted_recovery import RECOVERY
from tests.sim.planted_storage import STORAGE
from tests.sim.planted_ways import WAYS

CATALOGUE = (*STORAGE, *LANES, *ASIDE, *DESK, *RECOVERY, *WAYS)
