"""The ledger over stored files: which numbered events are there, which are missing, doubled or out of order."""
