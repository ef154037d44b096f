"""Where we write numbers otherwise than Django does."""
