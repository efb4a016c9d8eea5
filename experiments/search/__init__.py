"""The index: adding, kills, memory, views, and the speed of exact search."""
