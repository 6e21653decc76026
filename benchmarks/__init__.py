"""Programs that measure what kvsd promises in figures: how long tokens are, and what a reshard costs its clients."""
