"""What a pod's spec means: for the runtime, for the node, for its containers' environment."""
