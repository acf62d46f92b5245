"""Scenarios: stories of conflicts in YAML, told to the decision and compared with what a person expects of it.

- ``story.py`` the shapes; ``words.py`` the vocabulary of a scenario file;
- ``values.py`` values, times and writers out of YAML; ``expectations.py`` what should follow; ``parse.py`` the whole;
- ``play.py`` a story as a sequence of changes, whoever decides them; ``compare.py`` expected beside actual;
- ``corpus.py`` many files at once; ``schema.py`` the JSON Schema for editors.

The format is explained in docs/scenarios.md. Nothing here knows Kafka: whoever runs the same stories through a stack
drives ``play.tell`` and answers each change with the decision that came out.
"""
