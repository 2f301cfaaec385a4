"""For programs: events to an agent's source `grpc`, each exactly once into its channel. See docs/client.md.

*Thread*: any. After a fork the child has a publisher of its own: what the parent had not sent is the parent's.
"""

from __future__ import annotations

from qanat.client.logs import QanatHandler
from qanat.client.publisher import Publisher

__all__ = ["Publisher", "QanatHandler"]
