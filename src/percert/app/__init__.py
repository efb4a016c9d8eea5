"""``percert app``: the page in a browser, and the same as a REST interface. Extra: ``app``.

``percert.app.server`` puts it together. Nothing is computed here: every answer is that of
``percert.certify``, ``percert.attacks``, ``percert.search`` and ``percert.fairness``.
"""
