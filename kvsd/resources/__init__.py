"""The HTTP doors: what clients, operators and peers can ask of a node."""
