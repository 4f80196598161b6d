"""What both daemons speak: messages, resources, the wire, configuration, keys."""

import os

# Before pydantic is imported: it would look through all installed packages for plugins, which
# takes time and memory, and would run what nobody has looked at.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
