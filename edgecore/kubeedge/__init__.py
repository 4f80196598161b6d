"""What is taken over from KubeEdge on an edge machine."""
