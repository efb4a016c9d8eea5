"""A second descriptor of a collection, without proofs, that finds copies the metric cannot.

A collection may keep a partner: one more direction for each stored image. An image counts as a copy
if either descriptor says so, and the two share the rate of wrong answers. Nothing that a partner
says undoes a proof of the certified metric; what it finds alone is reported, but never certain.
"""
