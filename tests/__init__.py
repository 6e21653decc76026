"""The tests of kvsd: unit, simulation, integration and acceptance, from the inside out."""
