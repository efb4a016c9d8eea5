"""What a table says, by the names of its columns, as a reader takes it in."""

from dataclasses import fields


def said(table):
    """``{heading: cell}`` for each row of a ``Table``; every heading must be there once."""
    return rows_by_heading(table.columns, table.rows)


def rows_by_heading(columns, rows):
    """The same of (heading, "left" or "right") and rows of cells."""
    headings = [heading for heading, _ in columns]
    assert len(set(headings)) == len(headings)
    return [dict(zip(headings, row, strict=True)) for row in rows]


def tables_of(sections):
    """All tables of a report's sections, in order."""
    return [block for section in sections for block in section.blocks if block.kind == "table"]


def made(kind, **given):
    """The dataclass ``kind`` of what is ``given``: what its tables do not show is 0."""
    return kind(**{field.name: given.get(field.name, 0.0) for field in fields(kind)})
