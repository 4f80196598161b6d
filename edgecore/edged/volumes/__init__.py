"""The files of pods: volumes, mounts, and what they take."""
