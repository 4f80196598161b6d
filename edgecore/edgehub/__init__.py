"""EdgeHub: the one connection to the cloud, and the identity that opens it."""
