"""What both daemons speak: messages, resources, the wire, the in-process bus. Imports neither daemon."""
