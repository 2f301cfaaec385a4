"""`qanat demo`: a small cluster of real processes, killed on the way, and a ledger of what arrived."""
