"""A batch as the command line has it: a file of rows in, a folder of results out.

The calls are ``AsyncFal.map``'s; what is here reads the rows, writes what came, counts, and shows.
"""
