"""The probes as they were before the first cell ran: their modules are executed anew, from bytes.

A cell may replace a function of a probe, of `builtins` or of torch. What is loaded here does not see that: the code of the
modules is kept as bytes, and what they import is taken from copies of namespaces. Both are made before any handed-in code.

This makes forging harder, not impossible. Code in this process can still reach its frames, `gc` and `ctypes`.
"""

import builtins
import marshal
import sys
from types import ModuleType

_CONTAINERS = (dict, list, set)  # a module's own, such as torch's table of FLOPs


def compiled(module):
    """The code of a module, as bytes; its file must be visible."""
    return marshal.dumps(module.__spec__.loader.get_code(module.__name__))


class CleanModules:
    """Loads modules anew.

    Args:
        code: ``{name: bytes}`` of loaded modules, see `compiled`.
        packages: names of loaded packages, whose modules are added to them.
        shared: names of modules in them that hold state which cells read: they are not loaded anew.
    """

    def __init__(self, code, packages, shared=()):
        self._code, self._others, self._loaded = dict(code), {}, {}
        self._builtins = dict(vars(builtins), __import__=self._import)
        for name, module in list(sys.modules.items()):
            if name not in shared and any(f"{name}.".startswith(f"{package}.") for package in packages):
                self._code[name] = compiled(module)
        self._file = {name: sys.modules[name].__file__ for name in self._code}
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
            vars(module).update(__builtins__=self._builtins, __file__=self._file[name])
            exec(marshal.loads(self._code[name]), vars(module))
        return self._loaded.get(name)

    def _import(self, name, _globals=None, _locals=None, fromlist=(), _level=0):
        """Stands in for ``__import__`` in these modules; all their imports are absolute."""
        __import__(name)
        if not fromlist:
            return self._copied(name.partition(".")[0])
        module = self.load(name) or self._copied(name)
        for each in fromlist:
            part = f"{name}.{each}"
            if part in self._code or (name in self._code and part in sys.modules):
                setattr(module, each, self.load(part) or self._copied(part))
        return module

    def _copied(self, name):
        """A copy of another module's namespace, and of its submodules', as they were when it was first asked for."""
        module = sys.modules[name]
        if type(module) is not ModuleType:  # one that works out its attributes
            return module
        if name not in self._others:
            copy = self._others[name] = ModuleType(name)
            for key, value in list(vars(module).items()):
                kind = type(value)
                if kind in _CONTAINERS:
                    value = kind(value)
                elif kind is ModuleType and value.__name__ == f"{name}.{key}":
                    value = self._copied(value.__name__) if value.__name__ in sys.modules else value
                vars(copy)[key] = value
        return self._others[name]
