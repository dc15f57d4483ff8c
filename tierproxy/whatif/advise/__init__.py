"""Rules searched on recorded traffic, and judged on days that the search has not seen.

A rule file is made of a ``recipe``: at most one rule each for new mail, mail read often, folders, large mail, mail read
once, unread mail, idle mail and old mail; an order under pressure; a fill policy. ``search`` begins with every order
and some known mixtures, keeps the best and changes one ingredient at a time (coordinate descent), first on a sample of
the objects, then the best few on more of them (successive halving: Jamieson and Talwalkar, AISTATS 2016). What is left
is replayed over the days held out and judged beside the default age rule, no rules at all, and the rules in force
(``judge``): better only if it is so by owners and by days, each drawn again and again (bootstrap: Efron 1979). Nothing
is proposed that does not pass. The same trace and seed give the same advice.
"""

from tierproxy.whatif.advise.proposals import NAMES, Found, Proposal, Question, advise

__all__ = ["NAMES", "Found", "Proposal", "Question", "advise"]
