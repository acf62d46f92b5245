"""The demo: a simulated clinic on the embedded stack, and a view of what becomes of its edits.

- ``people.py`` who writes, and made-up values; ``actions.py`` what can happen; ``plan.py`` who does what when;
- ``systems.py`` the rows of EHR and CRM, in their connectors' wire shapes; ``desk.py`` an action as their events;
- ``clinic.py`` plan and writers at work;
- ``stack.py`` broker, Redis and the real worker in one process;
- ``watch.py`` what an outsider sees of it; ``sentences.py`` one decision in words; ``view.py`` the screen;
- ``summary.py`` whether the counts add up; ``run.py`` all of it from start to end.
"""
