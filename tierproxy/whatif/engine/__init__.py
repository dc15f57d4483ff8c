"""Recorded traffic replayed through rules and a budget in virtual time: the live planner's decisions on columns.

What is simulated how, and what is not, is in ``docs/whatif.md``. ``replay`` plays events; ``relief`` is the pressure
run, ``agenda`` the rules' turns, ``decisions`` the rules as code, ``room`` the budget, ``columns`` the objects.
"""
