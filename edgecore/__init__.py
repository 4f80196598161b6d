"""edgecore: the daemon of an edge machine, which goes on without the cloud."""
