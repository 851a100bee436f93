"""Many calls of one model: fanned out, journaled, saved, shown.

Built on the features; it knows no HTTP library and no session.
"""
