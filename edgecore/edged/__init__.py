"""Edged: the pods of this node, run through a ``Runtime`` and reported upstream; and the node."""
