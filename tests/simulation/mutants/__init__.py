"""Planted defects of the protocol: a test of the simulator, which should catch every one of them."""
