"""Model Context Protocol: the knowledge base as tools and resources, over plain HTTP.

Stateless and without streams: each POST is answered by one JSON object. Both generations of the
protocol are spoken: the revisions of 2024 and 2025, which begin with `initialize`, and that of
2026-07-28, whose every request says all there is to know.
"""
