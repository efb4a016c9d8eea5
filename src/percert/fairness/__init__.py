"""Whether a classifier's accuracy depends on an attribute of the groups that images come from.

Statistics of tables of predictions: no torch here, and no images. ``percert.fairness.audit`` has
the whole audit, ``line`` the regression, ``compare`` the tests between sets of models, ``measures``
the usual group measures, ``geo`` the data set of photographs by country. Needs the extra
``fairness``, and ``geo`` for the last.
"""
