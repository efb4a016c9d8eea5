"""Copies of pictures: found, certified, attacked, and mistaken."""
