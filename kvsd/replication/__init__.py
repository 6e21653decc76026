"""The pure core: all decisions of a node, no input or output."""
