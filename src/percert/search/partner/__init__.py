"""A second descriptor of a collection: it finds what the certified metric cannot, without proof.

A collection may keep a partner: one direction more a stored image. An image counts as a copy if
either says so, and both share what wrong answers are bearable. What the certified metric has proven
no partner can undo; what a partner alone finds is found, and not certain.
"""
