"""The tests of kvsd: unit, integration and acceptance, from the inside out."""
