"""Networks of proven Lipschitz constant: layers, architectures, their rounding, and the auditor.

A layer is an ``nn.Module`` with ``lipschitz_bound()``; a
:class:`~percert.lipschitz.network.LipschitzNetwork` multiplies the bounds of its layers.
"""
