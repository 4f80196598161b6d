"""What a node has against what it should have."""
