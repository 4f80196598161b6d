"""The edge-store: what this edge was told, on its own disk."""
