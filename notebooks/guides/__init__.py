"""The guides: each a script of cells, from which `python -m notebooks.guides` makes a notebook with its outputs and a thumbnail."""

from notebooks.guides._cells import Cell, Guide, gallery, guides, parse, summary

__all__ = ["Cell", "Guide", "gallery", "guides", "parse", "summary"]
