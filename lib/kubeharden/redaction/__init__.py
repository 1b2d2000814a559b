"""Secrets: what is one, and how it is taken out of text and data. Pure."""
