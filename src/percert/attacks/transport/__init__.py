"""Attacks and the inner problem of robust training: loss less a transport cost."""
