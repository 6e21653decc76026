"""The tests of kvsd: unit, integration, simulation and acceptance, from the inside out."""
