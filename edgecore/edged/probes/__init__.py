"""Probes and lifecycle hooks: what is asked of containers, and what follows."""
