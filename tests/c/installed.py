"""What ffi/packaging/install makes, looked at from outside: names, symbols, CMake, pkg-config, and the examples."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from toolbox import HERE, ROOT, WARNINGS, Failed, compiler, functions_of_the_header, need, sh, standard, symbols

SONAME = "libtreewarden.so.1"
OUTSIDE = HERE / "outside"
FILES = 3


def check_installed(work: Path, built: Path) -> str:
    """Installs what lies in `built` below `work` and uses it; returns what there is to say."""
    prefix = work / "prefix"
    sh(ROOT / "ffi" / "packaging" / "install", prefix, built)
    check_symbols(prefix)
    tree = make_tree(work)
    runs = [*with_pkg_config(work, prefix, tree), *examples(work, prefix)]
    # CMake finds what it needs by the place of its files: the folder may be moved as a whole.
    moved = work / "moved"
    prefix.rename(moved)
    runs += with_cmake(work, moved, tree)
    return f"{len(runs)} programs, {len(functions_of_the_header())} functions"


def make_tree(work: Path) -> Path:
    tree = work / "tree"
    tree.mkdir()
    for number in range(FILES):
        (tree / f"file-{number}.txt").write_text(f"{number}\n", encoding="utf-8")
    return tree


def check_symbols(prefix: Path) -> None:
    """Nothing but the functions of the header is to be seen, and all of them are."""
    lib = prefix / "lib"
    wanted = functions_of_the_header()
    shared = {name for name in symbols(lib / SONAME, "-D", "--defined-only")}
    static = {name for name in symbols(lib / "libtreewarden.a", "-g", "--defined-only")}
    for what, found in (("shared", shared), ("static", static)):
        if found != wanted:
            raise Failed(f"the {what} library lacks {sorted(wanted - found)} and shows {sorted(found - wanted)}")
    if f"[{SONAME}]" not in sh("readelf", "-d", lib / "libtreewarden.so"):
        raise Failed(f"the soname is not {SONAME}")
    if not (lib / SONAME).is_symlink() or not (lib / "libtreewarden.so").is_symlink():
        raise Failed("the links between the names of the shared library are missing")


def check_needs(program: Path, is_shared: bool) -> None:
    if (f"[{SONAME}]" in sh("readelf", "-d", program)) != is_shared:
        raise Failed(f"{program.name} is {'not ' if is_shared else ''}linked with {SONAME}")


def run(program: Path, tree: Path, state: Path) -> Path:
    said = sh(program, tree, state)
    if f": {FILES} files" not in said:
        raise Failed(f"{program} said: {said}")
    return program


def pkg_config(prefix: Path, *options: str) -> list[str]:
    """The flags; the paths in them are those of the prefix."""
    tool = need("pkg-config", "install it, on Debian with `apt-get install pkg-config`")
    said = sh(tool, *options, "treewarden", env={"PKG_CONFIG_PATH": str(prefix / "lib" / "pkgconfig")})
    if str(prefix) not in said:
        raise Failed(f"pkg-config does not tell of {prefix}: {said}")
    return said.split()


def compile_with(prefix: Path, source: Path, program: Path, is_shared: bool) -> Path:
    options = ("--cflags", "--libs") if is_shared else ("--static", "--cflags", "--libs")
    flags = pkg_config(prefix, *options)
    if not is_shared:
        flags = ["-l:libtreewarden.a" if flag == "-ltreewarden" else flag for flag in flags]
    sh(
        compiler(source), *standard(source), *WARNINGS, source, "-o", program, *flags, "-pthread",
        f"-Wl,-rpath,{prefix / 'lib'}",
    )  # fmt: skip
    check_needs(program, is_shared)
    return program


def with_pkg_config(work: Path, prefix: Path, tree: Path) -> Iterator[Path]:
    for source in (OUTSIDE / "main.c", OUTSIDE / "main.cpp"):
        for is_shared in (True, False):
            kind = "shared" if is_shared else "static"
            program = compile_with(prefix, source, work / f"{kind}-{source.suffix[1:]}", is_shared)
            yield run(program, tree, program.with_suffix(".tw"))


def with_cmake(work: Path, prefix: Path, tree: Path) -> list[Path]:
    cmake = need("cmake", "`pip install cmake`, as tests/python/requirements.txt does")
    build = work / "cmake"
    generator = ["-G", "Ninja"] if shutil.which("ninja") else []
    sh(cmake, *generator, "-S", OUTSIDE, "-B", build, f"-DCMAKE_PREFIX_PATH={prefix}")
    sh(cmake, "--build", build)
    programs = []
    for kind in ("shared", "static"):
        for language in ("c", "cpp"):
            program = build / f"{kind}_{language}"
            check_needs(program, kind == "shared")
            programs.append(run(program, tree, program.with_suffix(".tw")))
    return programs


def examples(work: Path, prefix: Path) -> Iterator[Path]:
    """Each example does what it says, once, on a tree of its own; a second time it does what has changed."""
    checks = {"watch_dir.c": watch_dir, "thumbs.cpp": thumbs}
    sources = [*(ROOT / "examples" / "c").glob("*.c"), *(ROOT / "examples" / "cpp").glob("*.cpp")]
    for source in sources:
        check = checks.get(source.name)
        if check is None:
            raise Failed(f"nobody has said in installed.py how {source.name} is tried")
        folder = work / f"example-{source.stem}"
        folder.mkdir()
        yield compile_with(prefix, source, folder / source.stem, True)
        check(folder / source.stem, make_tree(folder), folder)
    if len(sources) < len(checks):
        raise Failed(f"only {len(sources)} examples of {len(checks)} are there")


def watch_dir(program: Path, tree: Path, folder: Path) -> None:
    state = folder / "state.tw"
    first = sh(program, "--once", tree, state)
    (tree / "new.txt").write_text("new", encoding="utf-8")
    os.unlink(tree / "file-1.txt")
    second = sh(program, "--once", tree, state)
    if first.count("file-") != FILES or "new.txt" in first:
        raise Failed(f"watch_dir said of a new tree: {first}")
    if "new.txt" not in second or "file-1.txt" not in second or "file-2.txt" in second:
        raise Failed(f"watch_dir said of two changes: {second}")


def thumbs(program: Path, tree: Path, folder: Path) -> None:
    side = folder / "made"
    first = sh(program, "--once", tree, side)
    made = sorted(path.name for path in side.glob("*.thumb"))
    if made != [f"file-{number}.txt.thumb" for number in range(FILES)]:
        raise Failed(f"thumbs has made {made} and said: {first}")
    os.unlink(tree / "file-1.txt")
    sh(program, "--once", tree, side)
    if (side / "file-1.txt.thumb").exists() or not (side / "file-2.txt.thumb").exists():
        raise Failed("thumbs keeps what is gone, or not what is there")
