"""The tables of a store: where they lie, their columns, reading, committing and removing."""
