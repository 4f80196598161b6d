"""What both daemons speak: messages, resources, the wire, configuration, keys."""
