"""Parses a Dockerfile like a builder and copies the files of its COPY lines into a folder, without running commands."""

import dataclasses
import pathlib
import re
import shutil
from collections.abc import Mapping


class BuildError(Exception):
    """A failure of a build, in docker's words."""


@dataclasses.dataclass
class Stage:
    """One FROM and the instructions after it."""

    base: str
    name: str
    steps: list[tuple[str, str]]  # instruction and the rest of its line


def stages(text: str, arguments: Mapping[str, str]) -> list[Stage]:
    """Parses a Dockerfile with these build arguments. Raises BuildError."""
    text = re.sub(r"\\\n", " ", re.sub(r"(?m)^\s*#.*\n", "", text))
    found: list[Stage] = []
    known: dict[str, str] = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        instruction, _, rest = line.partition(" ")
        instruction, rest = instruction.upper(), rest.strip()
        if instruction == "ARG" and not found:
            name, _, default = rest.partition("=")
            known[name] = arguments.get(name) or _filled(default, known)
        elif instruction == "FROM":
            match = re.fullmatch(r"(\S+)(?: AS (\S+))?", rest, re.IGNORECASE)
            base = _filled(match[1], known) if match else ""
            if not base:
                raise BuildError(f"base name ({rest}) should not be blank")
            found.append(Stage(base, match[2] or str(len(found)), []))
        elif not found:
            raise BuildError(f"no build stage in current context: {line}")
        else:
            found[-1].steps.append((instruction, rest))
    if not found:
        raise BuildError("file with no instructions")
    return found


def _filled(text: str, known: Mapping[str, str]) -> str:
    return re.sub(r"\$\{?(\w+)\}?", lambda part: known.get(part[1], ""), text)


def stage(found: list[Stage], target: str) -> Stage:
    """The stage named `target`, by default the last. Raises BuildError."""
    if not target:
        return found[-1]
    for each in found:
        if each.name == target:
            return each
    raise BuildError(f"target stage {target} could not be found")


def check(found: list[Stage], context: pathlib.Path) -> None:
    """Raises BuildError when a COPY names a file or stage that neither the context nor an earlier stage has."""
    earlier: set[str] = set()
    for each in found:
        for instruction, rest in each.steps:
            if instruction not in ("COPY", "ADD"):
                continue
            flags, sources, _ = _copy(rest)
            if "from" in flags:
                if flags["from"] not in earlier:
                    raise BuildError(f"stage {flags['from']} of COPY does not exist")
                continue
            for source in sources:
                if not list(context.glob(source.strip("/") or ".")):
                    raise BuildError(f'failed to compute cache key: "/{source}": not found')
        earlier.add(each.name)


def lay_out(found: Stage, context: pathlib.Path, root: pathlib.Path) -> tuple[pathlib.Path, dict[str, str]]:
    """Copies the files of the stage's COPY lines into `root`; returns the last WORKDIR's folder and the environment."""
    folder, environment = pathlib.PurePosixPath("/"), {}
    for instruction, rest in found.steps:
        if instruction == "WORKDIR":
            folder = folder / rest
            _inside(root, folder).mkdir(parents=True, exist_ok=True)
        elif instruction == "ENV":
            environment.update(re.findall(r"(\w+)=(\S*)", rest))
        elif instruction == "COPY":
            flags, sources, to = _copy(rest)
            for source in sources if "from" not in flags else ():
                for path in context.glob(source.strip("/") or "."):
                    _put(path, _inside(root, folder / to), whole=to.endswith("/") or len(sources) > 1)
    return _inside(root, folder), environment


def _put(path: pathlib.Path, to: pathlib.Path, whole: bool) -> None:
    """Copies a folder's content into `to`, or a file to it or into it, as COPY does."""
    if path.is_dir():
        shutil.copytree(path, to, dirs_exist_ok=True)
        return
    target = to / path.name if whole or to.is_dir() else to
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, target)


def _inside(root: pathlib.Path, folder: pathlib.PurePosixPath) -> pathlib.Path:
    return root / str(folder).lstrip("/")


def _copy(rest: str) -> tuple[dict[str, str], list[str], str]:
    words = rest.split()
    flags = dict(word[2:].partition("=")[::2] for word in words if word.startswith("--"))
    *sources, to = [word for word in words if not word.startswith("--")]
    return flags, sources, to
