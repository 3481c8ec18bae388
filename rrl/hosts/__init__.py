"""Other people's trainers hold the same ``Replay`` as our loop. Start at ``replaying.py``, then one file a host.

``replaying.py`` is all that hosts have in common: which start for which problem, what became of it, save and load.
``build.py`` makes it from a config, ``task.py`` is what replay asks of a task, told from a tokenizer. A host's package
is imported in its own file only, after its version was checked.
"""
