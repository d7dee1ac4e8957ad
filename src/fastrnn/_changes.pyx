# cython: language_level=3
"""A count that every change of a layer's parameters raises.

Whoever holds something made of parameters, as a session holds packed weights, looks at the count before use: one
comparison of integers.  That it has moved says no more than that some layer may have other parameters now.
"""


def note():
    """Parameters of some layer have changed."""
    global changes
    changes += 1
