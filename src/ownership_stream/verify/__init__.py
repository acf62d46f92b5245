"""Whether what stands is what follows: every lane's log decided again and compared with all that came of it.

`changelog` reads states as of a consistent point, `again` decides, `compare` finds what differs and since when, `lane`
puts these together for one lane and `installation` for all. Everything is read beside the workers; nothing is written.
"""

from ownership_stream.verify.compare import Finding, Unverified
from ownership_stream.verify.installation import Verifier
from ownership_stream.verify.lane import LaneReport, Place

__all__ = ["Finding", "LaneReport", "Place", "Unverified", "Verifier"]
