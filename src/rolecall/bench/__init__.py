"""``rolecall bench``: suites that need no judge, run on the models of a stack and compared.

``cases`` reads what is asked, ``checks`` says what is right, ``sandbox`` runs code that a model
wrote, ``arms`` asks one model in one way, ``runner`` asks all and keeps the results (``store``),
``summary`` makes figures of them and ``difference`` compares two runs.
"""
