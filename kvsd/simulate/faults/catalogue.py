"""
All kinds of faults, by name.
"""

from kvsd.simulate.faults import disks, processes, weather
from kvsd.simulate.faults.scene import Apply

KINDS: dict[str, Apply] = {**weather.KINDS, **processes.KINDS, **disks.KINDS}
