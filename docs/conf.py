"""How the documentation is built: ``sphinx -nW``, so every reference must lead somewhere."""

from fal_async._version import VERSION

project = "fal_async"
author = "fal_async contributors"
copyright = "2026, fal_async contributors"  # noqa: A001  # Sphinx's name for it
release = version = VERSION

extensions = ["sphinx.ext.autodoc", "sphinx.ext.doctest"]
exclude_patterns = ["_build"]
default_role = "py:obj"
nitpicky = True
# What other packages document is named, not linked: a build needs no network.
OTHERS = (
    "aiohttp asyncio attr attrs cattrs collections concurrent contextvars dataclasses datetime"
    " decimal http json logging msgspec multidict os pathlib ssl types typing yarl"
)
nitpick_ignore_regex = [
    (r"py:.*", rf"({OTHERS.replace(' ', '|')})\..*"),
    (r"py:.*", r"\w*Error|\w*Warning|None|True|False|optional"),
]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
# Objects are documented under their public name, wherever they are defined.
add_module_names = False

html_theme = "furo"
html_title = "fal_async"
