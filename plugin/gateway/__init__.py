"""Chat with the knowledge base for every program that speaks OpenAI's protocol.

A collection is a model: what is asked of it is searched first, and the passages are put in front
of a language model, the upstream; without one, the answer is made of the passages themselves.
"""
