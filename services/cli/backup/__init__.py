"""`nemo backup`, `nemo restore`, `nemo upgrade-check`: everything in one encrypted file, and back (docs/adr/0029)."""


class Refused(RuntimeError):
    """It cannot be done so; the message says why and what to do. Nothing was changed."""


class NoKey(Refused):
    """The operator has not begun with backups: there is no key that archives could be sealed with."""
