"""What both daemons speak: messages, resources, the wire, the bus. Imports neither daemon."""
