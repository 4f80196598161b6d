"""Real containers: a runtime that speaks CRI v1 to containerd or CRI-O."""
