"""The weekly review: the six figures of a week and what they say, from the topics alone.

`logs` decides the lanes' logs again and hands over what followed; `ledger` keeps it week by week; `weekly` makes a
report of it; `page` and `charts` set that as Markdown and as HTML. Only `logs` knows Kafka; no part of it knows Redis
or Prometheus.
"""

from ownership_stream.review.ledger import Ledger
from ownership_stream.review.logs import Logs
from ownership_stream.review.page import as_html, as_markdown
from ownership_stream.review.week import Week
from ownership_stream.review.weekly import Report, report

__all__ = ["Ledger", "Logs", "Report", "Week", "as_html", "as_markdown", "report"]
