"""Pages and an API for the people who decide, in a process of their own (docs/pages.md).

- ``actors.py`` who somebody is and may be; ``doors.py`` who is let in; ``guard.py`` what every request goes through;
- ``work.py`` what is read and asked; ``comparing.py``, ``timeline.py``, ``forms.py``, ``words.py`` what is shown of it;
- ``pages.py`` what browsers get, ``api.py`` what programs get, ``openapi.py`` how that is described;
- ``server.py`` all of it as one server.

It decides nothing: what is asked here enters by ``ownership.changes`` and is answered by the record's lane.
"""
