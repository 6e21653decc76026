"""A lean agent for treq, for POSTs between nodes."""
