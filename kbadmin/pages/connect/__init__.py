"""The Connect page: for each client the text to copy, a key, and a test of its own sequence."""

from kbadmin.pages.connect.page import page, test

__all__ = ["page", "test"]
