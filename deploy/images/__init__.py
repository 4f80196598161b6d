"""Images of the daemons, made without a container engine: from Debian's packages and wheels."""
