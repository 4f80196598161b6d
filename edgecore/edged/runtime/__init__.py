"""Container runtimes: what ``base.Runtime`` asks for, and those that give it."""
