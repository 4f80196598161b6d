"""How edgecore comes onto a machine, goes from it, and is replaced by another version.

``slots``, ``storecopy``, ``launcher`` and ``installer`` use the standard library only: they run
where nothing else of this project is installed.
"""
