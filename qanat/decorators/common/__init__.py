"""What decorators share, and users' own may import."""
