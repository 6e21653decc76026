"""What can go wrong: each kind of fault as a function that makes it happen."""
