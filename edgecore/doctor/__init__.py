"""What is wrong with an edge, and how to fix it: ``look…`` gathers, the others judge."""
