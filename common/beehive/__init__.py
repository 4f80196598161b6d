"""Beehive: the in-process bus on which the modules of a daemon exchange messages."""
