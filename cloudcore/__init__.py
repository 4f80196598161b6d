"""The cloud daemon: near the API server, it serves the edge nodes."""
