"""What NextChat is given: tools that answer as it needs them, and the files that set it up."""
