"""Check docker-compose.yml and what it builds, without a Docker engine: `make compose-check`.

The schema and the linter know what Docker understands; the rules here know what this setup
promises: what is published, who runs as whom, what is kept and how it is stopped.
"""
