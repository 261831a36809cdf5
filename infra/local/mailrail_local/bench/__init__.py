"""This package measures Mailrail beside its peers, because a number alone says little."""
