"""Tests of one part at a time: pure, or on a simulated clock."""
