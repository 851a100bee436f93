"""The version, in its one home: the metadata and the User-Agent both read it here."""

VERSION = "0.1.0"
