"""Tests of parts together: real HTTP between nodes, a real disk, a real twistd."""
