"""The admin client: commands that ask a master."""
