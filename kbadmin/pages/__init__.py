"""One module per page that is more than a model."""
