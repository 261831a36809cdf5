"""This package runs the local stack, because Mailrail has to be tried and tested without an AWS account."""
