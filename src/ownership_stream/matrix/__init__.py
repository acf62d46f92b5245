"""The ownership matrix: from a YAML document to what the decision reads, and back to words for people.

- ``compiled.py`` the shapes the decision reads; ``normalise.py`` when two values are equal;
- ``document.py`` YAML with the place of every word; ``reading.py`` checked reading of it; ``words.py`` the vocabulary;
- ``rows.py`` one field's row and its own contradictions; ``grants.py`` what a row grants and shows;
- ``compile.py`` the whole document to a ``Matrix``; ``lint.py`` what only shows in the whole;
- ``show.py`` the table for people; ``schema.py`` the JSON Schema for editors.

This file imports nothing: the pure core needs ``compiled.py`` and no YAML reader.
"""
