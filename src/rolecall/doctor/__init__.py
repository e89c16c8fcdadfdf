"""What ``rolecall doctor`` does, apart from showing it: examines the models of a stack.

``examination`` is the whole; ``contact`` looks who is there, ``visit`` asks one model everything:
``dialogue`` and ``probes`` see what its server honours, ``quality`` puts questions with known
answers. ``verdict`` judges it for each role, ``problems`` says what to change, ``report`` is JSON.
"""
