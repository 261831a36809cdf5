"""Mailrail's local stack: the template on an emulator, beside real mail servers, on one machine."""
