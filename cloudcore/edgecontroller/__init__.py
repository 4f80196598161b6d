"""The controller between the API server and the edge nodes: what goes down, and what comes up."""
