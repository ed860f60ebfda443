"""Makes a C program that misuses every function of the header, one argument at a time: misuse.py HEADER PROGRAM.c

The prototypes are read from the header, so a new function is misused as soon as it is there: where no rule says what a
valid argument of it is, this fails and says so. What the header documents as no misuse at all is in misuse_tables.py,
and the C part of the program is in the folder misuse.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from misuse_tables import (
    ANY,
    BAD_HANDLE,
    BASES,
    CALLBACKS,
    CLOSED,
    CLOSED_DOES,
    INVALID,
    KINDS,
    NULL_IS_FINE,
    NUMBERS,
    OK,
    SIZES,
    TEXTS,
    TEXTS_TOO,
    UNTRIED,
    VALUES,
)


@dataclass
class Param:
    function: str
    type: str
    name: str
    kind: str
    handle: str = ""

    @property
    def key(self) -> str:
        return f"{self.function}.{self.name}"


@dataclass
class Function:
    name: str
    params: list[Param]


class Header:
    """The prototypes of a header, and what its types are."""

    def __init__(self, text: str) -> None:
        text = re.sub(r"/\*.*?\*/|//[^\n]*", " ", text, flags=re.DOTALL)
        self.opaque = set(re.findall(r"typedef struct (tw_\w+) \1;", text))
        self.callbacks = set(re.findall(r"typedef [^;{]*?\(\*(tw_\w+)\)", text))
        self.aliases = {name: base for base, name in re.findall(r"typedef (\w+) (tw_\w+);", text)}
        text = re.sub(r"^\s*#.*$", "", text, flags=re.MULTILINE)
        found = re.findall(r"\b(tw_status|uint32_t|const char)\s*\*?\s*(tw_\w+)\(([^;{]*)\);", text)
        self.functions = [self.function(name, params) for result, name, params in found if result == "tw_status"]

    def function(self, name: str, text: str) -> Function:
        params = [self.param(name, " ".join(param.split())) for param in text.split(",")]
        if params.pop().type != "tw_error **":
            raise SystemExit(f"{name} does not end with an error")
        return Function(name, params)

    def param(self, function: str, text: str) -> Param:
        match = re.fullmatch(r"(.*?[\s*])(\w+)", text)
        if match is None:
            raise SystemExit(f"{function}: what is `{text}`?")
        kind = re.sub(r"\bstruct ", "", match[1]).strip()
        base = re.sub(r"\bconst\b|[\s*]", "", kind)
        handle = base[3:] if base in self.opaque else ""
        return Param(function, kind, match[2], self.kind(function, match[2], kind, base), handle)

    def kind(self, function: str, name: str, kind: str, base: str) -> str:
        stars = kind.count("*")
        if base in self.opaque:
            return {1: "HANDLE", 2: "HANDLES" if kind.startswith("const") else "OUT_HANDLE"}[stars]
        if base == "tw_finalizer":
            return "FINALIZER"
        if base in self.callbacks:
            return "CALLBACK"
        if kind == "void *":
            return "OUT" if name == "buffer" else "DATA"
        if stars == 1:
            return "IN" if kind.startswith("const") else "OUT"
        if base == "tw_bytes":
            return "BYTES"
        if stars == 0 and self.aliases.get(base, base) in {"int32_t", "int64_t", "uint32_t", "uint64_t", "size_t"}:
            return "NUMBER"
        raise SystemExit(f"{function}: `{kind}` is of no known kind")


def number_value(function: Function, index: int) -> Optional[str]:
    """The size of the struct that a size belongs to."""
    param = function.params[index]
    if not param.name.endswith("_size"):
        return None
    owner = next(p for p in reversed(function.params[:index]) if p.kind in ("IN", "OUT"))
    return f"sizeof({re.sub(r'const|[ *]', '', owner.type)})"


def value(function: Function, index: int) -> str:
    """A valid argument."""
    param = function.params[index]
    known = VALUES.get(param.key)
    if known is None and param.kind in ("OUT", "OUT_HANDLE"):
        known = f"output({index})"
    if known is None and param.handle == "options":
        kind = KINDS.get(param.key)
        known = "held[T_options]" if kind is None else f"options[TW_OPTIONS_{kind}]"
    if known is None and param.kind == "HANDLE":
        known = f"held[T_{param.handle}]"
    if known is None and param.kind in ("CALLBACK", "FINALIZER"):
        known = CALLBACKS.get(param.type)
    if known is None and param.kind == "DATA":
        known = "NULL"
    known = known or number_value(function, index) or VALUES.get(param.name)
    if known is None:
        raise SystemExit(f"misuse.py has no valid value for `{param.name}` of {function.name}")
    return known


def trials(function: Function) -> list[tuple[int, str, str, str]]:
    """What is wrong, one at a time: parameter, trick, number, what comes of it."""
    found: list[tuple[int, str, str, str]] = []
    base = BASES.get(function.name, OK)
    for index, param in enumerate(function.params):

        def add(trick: str, wanted: str, number: str = "0", index: int = index) -> None:
            found.append((index, trick, number, wanted))

        refused = NULL_IS_FINE.get(param.key, INVALID)
        if param.kind == "HANDLE":
            is_free = function.name.endswith("_free")
            add("PUT_NULL", OK if is_free else NULL_IS_FINE.get(param.key, BAD_HANDLE))
            for trick in ("OTHER_TYPES", "FREED", "GARBAGE"):
                add(trick, BAD_HANDLE)
            if param.key in KINDS:
                add("OTHER_KINDS", INVALID)
            if param.handle == "warden" and not is_free:
                add("CLOSED", CLOSED_DOES.get(function.name, CLOSED))
        elif param.kind in ("HANDLES", "IN", "OUT", "OUT_HANDLE"):
            add("PUT_NULL", refused)
            if "char" not in param.type and "void" not in param.type:
                add("MISALIGNED", INVALID)
            if "tw_bytes" in param.type and param.kind == "IN":
                add("POINT_TO_NULL_5", INVALID)
        elif param.kind == "BYTES":
            is_text = param.name in TEXTS or param.key in TEXTS_TOO
            add("NULL_5", INVALID)
            add("HUGE_LEN", INVALID)
            add("NOT_UTF8", INVALID if is_text else ANY)
            for trick in ("NO_BYTES", "WITH_ZERO", "LONG"):
                add(trick, ANY)
        elif param.kind == "NUMBER":
            is_size = param.name.endswith("_size")
            tried = SIZES if is_size else NUMBERS.get(param.key, NUMBERS.get(param.name))
            if tried is None:
                raise SystemExit(f"misuse.py does not know which numbers to try as `{param.name}` of {function.name}")
            for number, wanted in tried.items():
                add("PUT_NUMBER", wanted, number)
        elif param.kind == "CALLBACK":
            add("PUT_NULL", refused)
        else:
            add("PUT_NULL", base)
    return found


MEMBERS = {"BYTES": "bytes", "NUMBER": "number", "CALLBACK": "fn", "FINALIZER": "fn"}


def fill(function: Function, index: int) -> str:
    param, given = function.params[index], value(function, index)
    member = MEMBERS.get(param.kind, "ptr")
    cast = {"ptr": "(void *)", "number": "(uint64_t)", "fn": "(void (*)(void))", "bytes": ""}[member]
    return f"    v[{index}].{member} = {cast}{given};"


def argument(param: Param, index: int) -> str:
    member = MEMBERS.get(param.kind, "ptr")
    cast = f"({param.type})" if member in ("number", "fn") else ""
    return f"{cast}v[{index}].{member}"


def program(header: Header) -> str:
    """The whole program."""
    lines = ['#include "misuse/tricks.h"', ""]
    types = [f"X(T_{name[3:]})" for name in sorted(header.opaque)]
    lines += [
        "/* Every type of the header. */",
        "#define X(type) (1u << type) |",
        "enum { ALL_TYPES = " + " ".join(types) + " 0 };",
    ]
    lines += ["#undef X", "typedef char every_type_is_known[ALL_TYPES == (1u << TYPES) - 1 ? 1 : -1];", ""]
    table, tried = [], []
    for number, function in enumerate(header.functions):
        count = len(function.params)
        arguments = ", ".join([argument(param, index) for index, param in enumerate(function.params)] + ["e"])
        lines += [f"static tw_status call_{number}(const value *v, tw_error **e) {{"]
        lines += [f"    return {function.name}({arguments});", "}"]
        lines += [f"static void fill_{number}(value *v) {{"]
        lines += [fill(function, index) for index in range(count)] + ["}"]
        rows = [f'{{"{p.name}", {p.kind}, {f"T_{p.handle}" if p.handle else "-1"}}}' for p in function.params]
        lines += [f"static const struct param params_{number}[] = {{{', '.join(rows)}}};", ""]
        is_free = function.name.endswith("_free")
        base = UNTRIED if is_free else BASES.get(function.name, OK)
        table.append(f'    {{"{function.name}", call_{number}, fill_{number}, params_{number}, {count}, {base}}},')
        tried += [f"    {{{number}, {p}, {trick}, (uint64_t){n}, {w}}}," for p, trick, n, w in trials(function)]
    lines += ["static const struct function functions[] = {", *table, "};", ""]
    lines += ["static const struct trial trials[] = {", *tried, "};", ""]
    lines += ["int main(int argc, char **argv) {"]
    lines += [f"    return run(argc, argv, functions, {len(table)}, trials, {len(tried)});", "}", ""]
    return "\n".join(lines)


def main() -> None:
    header = Header(Path(sys.argv[1]).read_text(encoding="utf-8"))
    if len(header.functions) < 100:
        raise SystemExit(f"only {len(header.functions)} functions were found")
    Path(sys.argv[2]).write_text(program(header), encoding="utf-8")


if __name__ == "__main__":
    main()
