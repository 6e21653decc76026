"""A demonstration that loads much, kills nodes and checks everything: ``python -m kvsd.demo``."""
