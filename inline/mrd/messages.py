"""The messages of an MRD stream, as values.

An :class:`Image` keeps the sender's bytes (header, attribute string, pixels), so that passing it on gives
the same bytes again whatever is in them.
"""
