"""Commands of edgecore beside ``run``: for people at the machine."""
