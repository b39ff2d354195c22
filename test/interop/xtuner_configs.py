"""XTuner's own configs, executed with stand-ins for all that they import, and Python expressions.

    xtuner_configs.py configs FOLDER       every .py below FOLDER: {path: namespace}
    xtuner_configs.py expressions FILE     a JSON list of expressions: [value or null]
    xtuner_configs.py options FILE         a JSON list of texts: what --cfg-options makes of each

Values are written so that nothing is lost: ints and floats stay apart, and so do lists and tuples.
"""
import importlib.abc
import importlib.machinery
import json
import pathlib
import re
import struct
import sys
import types
import warnings


class Symbol:
    """Something imported: known by its dotted name alone."""

    def __init__(self, name):
        self.__dict__["name"] = name

    def __getattr__(self, key):
        if key.startswith("__"):
            raise AttributeError(key)
        return Symbol(f"{self.name}.{key}")


class StandIn(types.ModuleType):
    def __getattr__(self, key):
        if key.startswith("__"):
            raise AttributeError(key)
        return Symbol(f"{self.__name__}.{key}")


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    ROOTS = "torch datasets mmengine peft transformers xtuner bitsandbytes modelscope".split()

    def find_spec(self, name, path, target=None):
        if name.split(".")[0] in self.ROOTS:
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec):
        return StandIn(spec.name)

    def exec_module(self, module):
        module.__path__ = []


def plain(value):
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        return {"int": str(value)}
    if isinstance(value, float):
        return {"float": struct.pack(">d", value).hex()}
    if isinstance(value, Symbol):
        return {"symbol": value.name}
    if isinstance(value, types.ModuleType):
        return {"symbol": value.__name__}
    if isinstance(value, (list, tuple)):
        return {type(value).__name__: [plain(item) for item in value]}
    if isinstance(value, dict):
        return {"dict": [[plain(key), plain(item)] for key, item in value.items()]}
    raise TypeError(type(value))


def configs(folder):
    sys.meta_path.insert(0, Finder())
    found = {}
    for path in sorted(pathlib.Path(folder).rglob("*.py")):
        if path.name == "__init__.py":
            continue
        names = {}
        exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), names)
        found[str(path.relative_to(folder))] = {
            key: plain(value) for key, value in names.items() if key != "__builtins__"
        }
    return found


def expression(text):
    try:
        value = eval(text, {"__builtins__": {"dict": dict, "int": int, "float": float}})
        return {"value": plain(value)}
    except Exception:
        return None


def option(text):
    """DictAction of MMEngine, which the last argument is the source of."""
    try:
        return {"value": plain(DictAction._parse_iterable(text))}
    except Exception:
        return None


warnings.simplefilter("ignore")
kind, argument = sys.argv[1:3]
if kind == "configs":
    result = configs(argument)
else:
    if kind == "options":
        source = pathlib.Path(sys.argv[3], "mmengine/config/config.py").read_text()
        begin = source.index("class DictAction(Action)")
        end = re.compile(r"^@contextmanager", re.M).search(source, begin).start()
        scope = {"Action": object}
        exec("import copy\nfrom typing import *\nfrom argparse import ArgumentParser, Namespace\n" + source[begin:end], scope)
        DictAction = scope["DictAction"]
    each = expression if kind == "expressions" else option
    result = [each(text) for text in json.loads(pathlib.Path(argument).read_text(encoding="utf-8"))]
json.dump(result, sys.stdout)
