"""kvsd: a sharded, replicated, causally consistent key-value store over plain HTTP."""
