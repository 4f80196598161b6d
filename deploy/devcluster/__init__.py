"""A real Kubernetes control plane on loopback, for the demo, the tests and the benchmarks.

``build`` finds or builds the programs, ``controlplane`` runs them. Nothing here is ever shipped,
and neither daemon depends on it.
"""
