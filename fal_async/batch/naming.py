"""What the files of a batch are called: ``out/{index:05d}-{seed}.{ext}``. Pure: nothing is looked up on disk.

Values come from strangers and prompts. None of them may leave the folder that the template names, or make a
name that some file system minds.
"""

from __future__ import annotations

import contextlib
import os
import re
import string
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import attrs

from fal_async.errors import InputError
from fal_async.protocol.file_names import harmless
from fal_async.protocol.media_types import type_of_name

__all__ = ["DEFAULT_NAME", "Template", "parse_template", "slug"]

DEFAULT_NAME: Final = "{index:05d}-{n}.{ext}"
"""What files are called where the template only names a folder."""

#: In bytes. File systems take 255; the rest is for the number of a name that is taken: `` (2)``.
_NAME_MAX: Final = 240
_VALUE_MAX: Final = 1000  # characters looked at: what is longer will not fit anyway
_BITS_MAX: Final = 800  # of a number: 241 digits
_SLUG_MAX: Final = 60
_MISSING: Final = "none"
_EXTENSION_MAX: Final = 16

_NAME: Final = re.compile(r"(?:(input|output)\.)?([A-Za-z_]\w*)")
#: Braces, and widths that would fill the memory.
_BAD_SPEC: Final = re.compile(r"[{}]|\d{4}")
#: Names that Windows keeps for devices, whatever comes after the first dot.
_DEVICE: Final = re.compile(
    r"(?:con|prn|aux|nul|conin\$|conout\$|clock\$|com[0-9¹²³]|lpt[0-9¹²³]) *(?:\..*)?",
    re.IGNORECASE | re.DOTALL,
)


@attrs.frozen
class _Field:
    """``{name:spec}``; ``source`` is ``input``, ``output`` or empty."""

    name: str
    source: str = ""
    spec: str = ""


_Part = str | _Field
_Component = tuple[_Part, ...]


@attrs.frozen(kw_only=True)
class _Values:
    own: Mapping[str, Any] = attrs.field(repr=False)
    input: object = attrs.field(repr=False)
    output: object = attrs.field(repr=False)

    def of(self, field: _Field) -> Any:
        if field.source:
            return _look(self.input if field.source == "input" else self.output, field.name)
        if field.name in self.own:
            return self.own[field.name]
        found = _look(self.output, field.name)
        return _look(self.input, field.name) if found is None else found


def _look(source: object, name: str) -> Any:
    """A scalar by its name; None if there is none."""
    if isinstance(source, Mapping):
        found = source.get(name)
    elif attrs.has(type(source)):
        found = getattr(source, name, None)
    else:
        return None
    return found if isinstance(found, str | int | float) else None


@attrs.frozen(kw_only=True)
class Template:
    """A checked template; ``str()`` gives its text. Made by :func:`parse_template`."""

    text: str
    # pyright does not know that attrs leaves out the underscore.
    _root: str = attrs.field(alias="root", repr=False)
    _components: tuple[_Component, ...] = attrs.field(alias="components", repr=False)
    _numbers: bool = attrs.field(alias="numbers", repr=False)

    def __str__(self) -> str:
        return self.text

    @property
    def folder(self) -> Path:
        """The folder that all files lie in, or below: what comes before the first field."""
        literal: list[str] = []
        for component in self._components[:-1]:
            if any(isinstance(part, _Field) for part in component):
                break
            literal.append("".join(map(str, component)))
        return Path(self._root, *literal)

    def path(
        self,
        *,
        index: int,
        n: int = 0,
        ext: str = "bin",
        input: object = None,
        output: object = None,
        request_id: str | None = None,
        model: str | None = None,
        file_name: str | None = None,
    ) -> Path:
        """Where the ``n``-th file of an item goes, ``n`` from 0.

        Files after the first have ``-1``, ``-2`` … in their names if the template has no ``{n}``.
        """
        values = _Values(
            own={
                "index": index,
                "n": n,
                "ext": ext,
                "request_id": request_id,
                "model": model,
                "file_name": file_name,
            },
            input=input,
            output=output,
        )
        *folders, last = self._components
        number = f"-{n}" if n and not self._numbers else ""
        names = [_filled(component, values) for component in folders]
        return Path(self._root, *names, _filled(last, values, number))


def parse_template(template: str | os.PathLike[str]) -> Template:
    """Read a template: the path of a file, with fields in braces.

    ==================  ===================================================================
    ``{index}``         the input's place, from 0; with a format, as in ``{index:05d}``
    ``{n}``             which file of the item it is, from 0
    ``{ext}``           how its name should end: ``png``
    ``{prompt}``        the prompt as a slug, cut to 60 characters
    ``{request_id}``    fal's id of the request
    ``{model}``         the model, its slashes replaced
    ``{file_name}``     what the model calls the file
    ``{seed}``          and any other name: that field of the output, else of the input
    ``{input.style}``   that field of the input; ``{output.seed}`` likewise
    ==================  ===================================================================

    What is missing or no scalar becomes ``none``. A template that ends in ``/``, or whose last part has
    neither a field nor a file's extension, names a folder; files in it are called by ``DEFAULT_NAME``.

    :raises InputError: for a template that has another syntax.
    """
    try:
        text = os.fspath(template)
    except TypeError:
        raise InputError(f"save is a template, not {type(template).__name__}") from None
    if not isinstance(text, str) or not text.strip() or "\x00" in text:
        raise InputError('save is a template such as "out/{index:05d}-{seed}.{ext}"')
    root, components = _split(text)
    if not components or _names_folder(text, components):
        _, more = _split(DEFAULT_NAME)
        components += more
    fields = {p for c in components for p in c if isinstance(p, _Field)}
    return Template(
        text=text,
        root=root,
        components=tuple(components),
        numbers=any(field.name == "n" and not field.source for field in fields),
    )


def _split(text: str) -> tuple[str, list[_Component]]:
    """The root, if the path has one, and the parts of each of its components."""
    separators = {os.sep, os.altsep or "/"}
    components: list[list[_Part]] = [[]]
    for part in _parts(text):
        if isinstance(part, _Field):
            components[-1].append(part)
            continue
        first, *others = re.split("|".join(map(re.escape, separators)), part)
        components[-1] += [first] if first else []
        components += [[other] if other else [] for other in others]
    root = "" if components[0] or len(components) == 1 else os.sep
    return root, [tuple(c) for c in components if c and c != ["."]]


def _parts(text: str) -> list[_Part]:
    parts: list[_Part] = []
    try:
        for literal, name, spec, conversion in string.Formatter().parse(text):
            parts += [literal] if literal else []
            if name is not None:
                parts.append(_field(name, spec or "", conversion))
    except InputError:
        raise
    except ValueError as error:
        raise InputError(f"save: {error} (a brace itself is written twice)") from None
    return parts


def _field(name: str, spec: str, conversion: str | None) -> _Field:
    found = _NAME.fullmatch(name)
    if found is None or conversion:
        raise InputError(
            f"save: {{{name}{f'!{conversion}' if conversion else ''}}} is no field; "
            "there are {index}, {n}, {ext}, {prompt}, {input.NAME}, {output.NAME} and names of fields"
        )
    field = _Field(found[2], found[1] or "", spec)
    wrong = InputError(f"save: {{{name}:{spec}}} has a format that cannot be used")
    if _BAD_SPEC.search(spec):
        raise wrong
    whole = not field.source and field.name in {"index", "n"}
    for sample in (0,) if whole else (0, 0.0, ""):
        with contextlib.suppress(ValueError):
            format(sample, spec)
            return field
    raise wrong


def _names_folder(text: str, components: list[_Component]) -> bool:
    last = components[-1]
    if text.endswith(tuple(filter(None, ("/", os.sep)))):
        return True
    return not any(isinstance(p, _Field) for p in last) and type_of_name(str(last[0])) is None


# --- names ----------------------------------------------------------------------------------------------


def _filled(component: _Component, values: _Values, number: str = "") -> str:
    if len(component) == 1 and isinstance(component[0], str) and not number:
        return component[0]  # the caller's own
    name = "".join(p if isinstance(p, str) else _text(p, values.of(p)) for p in component)
    stem, ending = _cut_ending(component, unicodedata.normalize("NFC", name))
    room = _NAME_MAX - len((number + ending).encode("utf-8", "replace"))
    whole = _cut(stem, max(room, 0)) + number + ending
    whole = whole.rstrip(" .")
    if not whole.strip("."):
        return _MISSING
    return f"_{whole}" if _DEVICE.fullmatch(whole) else whole


def _cut_ending(component: _Component, name: str) -> tuple[str, str]:
    """A name without what tells its kind, and that: numbers come between, and it survives a cut."""
    last = component[-1]
    known = "." in last if isinstance(last, str) else last.name in {"ext", "file_name"}
    stem, dot, ending = name.rpartition(".")
    if not known or not stem or not dot or not 0 < len(ending) <= _EXTENSION_MAX:
        return name, ""
    return stem, dot + ending


def _cut(text: str, size: int) -> str:
    return text.encode("utf-8", "replace")[:size].decode("utf-8", "ignore")


def _text(field: _Field, value: Any) -> str:
    """A value as a part of a name."""
    if value is None:
        return _MISSING
    if field.name == "prompt" and not field.source:
        return slug(str(value)) or _MISSING
    return _safe(_formatted(value, field.spec)) or _MISSING


def _formatted(value: Any, spec: str) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) and value.bit_length() > _BITS_MAX:
        return _MISSING
    if isinstance(value, str):
        value = value[:_VALUE_MAX]
    try:
        return format(value, spec)
    except (ValueError, OverflowError):  # a text where a number was expected, or the reverse
        return str(value)


def _safe(text: str) -> str:
    """Without separators, control characters, dots or blanks in front, and what Windows minds."""
    clean = harmless(text[:_VALUE_MAX])
    return clean.replace("..", "-").lstrip(". ").rstrip(" ")


def slug(text: str) -> str:
    """A text as a part of a name: words in small letters, joined by ``-``, 60 characters at most."""
    words = re.findall(r"\w+", unicodedata.normalize("NFC", text[:_VALUE_MAX]).lower())
    clean = harmless("-".join(words))
    return clean[:_SLUG_MAX].strip("-_ ")
