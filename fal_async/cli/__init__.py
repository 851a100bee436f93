"""The command line, ``fal-async``: what a person does with the client and the emulator from a shell.

Whatever prints, reads options or gives an exit status lives here; nothing else imports click or rich.
"""
