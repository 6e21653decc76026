"""Where a node keeps its data: on disk, or in memory."""
