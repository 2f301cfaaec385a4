"""What sources over HTTP share: a server of POST requests, their bodies, and columns of events with attributes of their own."""
