"""The probes as they were before the first cell ran: their modules are executed anew.

A cell may replace a function of a probe, of `builtins` or of torch. What is loaded here does not see that: the code of the
modules is kept, which nothing can change, and what they import is taken from copies of namespaces. Both are made before any
handed-in code.

This makes forging harder, not impossible: docs/grading.md lists how code in this process can still reach them.
"""

import builtins
import sys
from types import ModuleType

__builtins__ = dict(vars(builtins))  # of the functions below, which cells cannot replace in this copy

_CONTAINERS = (dict, list, set)  # a module's own, such as torch's table of FLOPs


def compiled(module):
    """The code object of a module; its file must be visible."""
    return module.__spec__.loader.get_code(module.__name__)


class CleanModules:
    """Loads modules anew.

    Args:
        code: ``{name: code object}`` of loaded modules, see `compiled`.
        packages: names of loaded packages, whose modules are added to them.
        shared: names of modules in them that hold state which cells read: they are not loaded anew.

    All modules that they import are imported while this object is made.
    """

    def __init__(self, code, packages, shared=()):
        self._code, self._shared, self._copies, self._loaded = dict(code), shared, {}, {}
        self._builtins = dict(vars(builtins), __import__=self._import)
        for name, module in list(sys.modules.items()):
            if name not in shared and any(f"{name}.".startswith(f"{package}.") for package in packages):
                self._code[name] = compiled(module)
        self._specs = {name: sys.modules[name].__spec__ for name in self._code}
        for name in self._code:
            self.load(name)  # copies what they import
        self.renew()

    def renew(self):
        """Handed-in code has run: load everything anew from now on."""
        self._loaded = {}

    def load(self, name):
        """The module `name`; None if it is none of these."""
        if name not in self._loaded and name in self._code:
            module = self._loaded[name] = ModuleType(name)
            spec = self._specs[name]
            vars(module).update(__builtins__=self._builtins, __file__=spec.origin, __package__=spec.parent)
            exec(self._code[name], vars(module))
        return self._loaded.get(name)

    def _import(self, name, namespace=None, _locals=None, fromlist=(), level=0):
        """Stands in for ``__import__`` in these modules. A relative import may name a module beside its own, no other."""
        if level:
            name = f"{namespace['__package__']}.{name}"
        if not fromlist:
            return self._module(name.partition(".")[0], name)
        module = self._module(name)
        for each in fromlist:
            part = f"{name}.{each}"
            if part in self._code or part in self._shared:
                setattr(module, each, self._module(part))
        return module

    def _module(self, name, imported=None):
        return self.load(name) or self._copy(name, imported or name)

    def _copy(self, name, imported):
        """A copy of another module's namespace, and of its submodules', as they were when it was first asked for."""
        if name in self._copies:
            return self._copies[name]
        __import__(imported)
        module = copy = self._copies[name] = sys.modules[name]
        if type(module) is ModuleType:  # not one that works out its attributes
            copy = self._copies[name] = ModuleType(name)
            for key, value in list(vars(module).items()):
                kind = type(value)
                if kind in _CONTAINERS:
                    value = kind(value)
                elif kind is ModuleType and value.__name__ == f"{name}.{key}" and value.__name__ in sys.modules:
                    value = self._copy(value.__name__, value.__name__)
                vars(copy)[key] = value
        return copy
