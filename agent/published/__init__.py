"""The service Publish: producers that number their events, so that what they repeat is taken once."""
