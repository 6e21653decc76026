"""Tests of the whole from outside: processes and HTTP, nothing else."""
