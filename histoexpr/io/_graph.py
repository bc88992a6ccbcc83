"""A model as a list of nodes: each object once, after all that it is made of.

A node refers to earlier nodes only. So what one object shares with another is shared again, a
cycle cannot be said, and reading needs no recursion.
"""

from ..exceptions import HistoexprError, InputError, InputTypeError
from ._kinds import PLAIN_KINDS, checked
from ._modules import TORCH_KINDS
from ._objects import OBJECT_KIND

_KINDS = [*PLAIN_KINDS, *TORCH_KINDS, OBJECT_KIND]
_BY_NAME = {kind.name: kind for kind in _KINDS}
_REFERENCE = "@"
# Far above what a model has. A few nodes that each hold the one before twice would unfold to more
# than any memory has, where something looks at them one by one.
_MOST_UNFOLDED, _DEEPEST = 2_000_000, 100


class Writer:
    """Takes an object apart: ``Writer().write(model)`` fills the attributes.

    Attributes
    ----------
    nodes : list of [kind, payload]
    arrays : dict of str to ndarray
        Under the path by which each was first found in the object.
    """

    def __init__(self):
        self.nodes, self.arrays = [], {}
        self._path, self._numbers, self._kept, self._open = [], {}, [], set()

    def write(self, model):
        """Take a model apart; an error says which part of it cannot be written."""
        try:
            self(model)
        except (InputError, InputTypeError) as error:
            raise type(error)(f"model{''.join(self._path)}: {error}.") from error

    def __call__(self, value, step=""):
        """What stands for a value in the payload that holds it."""
        if type(value) in (type(None), bool, int, str) or _is_finite(value):
            return value
        if id(value) not in self._numbers:
            self._path.append(step)
            number = self._add(value)
            self._path.pop()
            self._numbers[id(value)] = number
            self._kept.append(value)  # so that no other object gets its id
        return {_REFERENCE: self._numbers[id(value)]}

    def array(self, array):
        """The name under which an array is kept."""
        name = path = "".join(self._path).lstrip(".") or "array"
        while name in self.arrays:
            name = f"{path}.{len(self.arrays)}"
        self.arrays[name] = array
        return name

    def _add(self, value):
        if id(value) in self._open or len(self._open) > _DEEPEST:
            raise InputError(
                "it leads back to an object that it is a part of, or lies more than "
                f"{_DEEPEST} objects deep"
            )
        self._open.add(id(value))
        kind = next(kind for kind in _KINDS if kind.matches(value))
        payload = kind.write(value, self)
        self._open.remove(id(value))
        self.nodes.append([kind.name, payload])
        return len(self.nodes) - 1


class Reader:
    """Puts an object together again: ``Reader(arrays, known, max_bytes).read(nodes)``.

    Parameters
    ----------
    arrays : dict of str to ndarray
    known : Known
        The classes that may be made.
    max_bytes : int
        What no array may exceed.
    """

    def __init__(self, arrays, known, max_bytes):
        self.known, self.max_bytes = known, max_bytes
        self._arrays, self._values, self._used = arrays, [], set()
        self._sizes, self._depths = [], []

    def read(self, nodes):
        """The object that the last node is; ValueError if the nodes are no model."""
        for number, node in enumerate(checked(nodes, list)):
            self._size, self._depth = 1, 0
            try:
                name, payload = node
                self._values.append(_BY_NAME[name].read(payload, self))
            except Exception as error:  # of whatever type: it comes from what the file says
                said = str(error) if isinstance(error, HistoexprError) else repr(error)
                what = node[0] if isinstance(node, list) and node else node
                raise InputError(f"node {number} ({str(what)[:30]}): {said}") from error
            if self._size > _MOST_UNFOLDED or self._depth > _DEEPEST:
                raise InputError(f"node {number} unfolds to more than a model is made of")
            self._sizes.append(self._size)
            self._depths.append(self._depth)
        unused = set(range(len(nodes) - 1)) - self._used
        if not nodes or unused or self._arrays:
            left = [*sorted(unused), *self._arrays]
            raise InputError(f"nodes or arrays that belong to nothing: {str(left[:5])[:200]}")
        return self._values[-1]

    def __call__(self, item):
        """The value that an item of a payload stands for."""
        if type(item) in (type(None), bool, int, str, float):
            self._size += 1
            return item
        ((sign, number),) = checked(item, dict).items()
        if sign != _REFERENCE or type(number) is not int or not 0 <= number < len(self._values):
            raise InputError(f"{str(item)[:100]} refers to no earlier node")
        self._used.add(number)
        self._size += self._sizes[number]
        self._depth = max(self._depth, self._depths[number] + 1)
        return self._values[number]

    def array(self, name):
        """The array of that name, which no other node may name."""
        if type(name) is not str or name not in self._arrays:
            raise InputError(f"there is no array {str(name)[:100]!r}, or it was used already")
        array = self._arrays.pop(name)
        return array if array.flags.writeable else array.copy()


def _is_finite(value):
    return type(value) is float and value - value == 0
