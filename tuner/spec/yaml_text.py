"""Reads YAML that anybody may have written in bounded time and memory: jobs and spaces are short."""

from pathlib import Path
from typing import Any

import yaml

LONGEST = 64 * 1024
"""Bytes of a file; the longest one that is shipped has 2,600."""
MOST = 20_000
"""Values of a file, each counted as often as it is referred to."""
LARGEST = 2**63
"""The first whole number that is too large for a database."""
LONGEST_NUMBER = 70
"""Characters of a whole number; in binary one has 64."""


def read_text(path: Path) -> str:
    """Returns what a short file holds. Raises OSError, or ValueError with what is wrong."""
    if path.exists() and not path.is_file():
        raise ValueError("it is no file")  # a device or a pipe may never end
    with path.open("rb") as file:
        content = file.read(LONGEST + 1)
    if len(content) > LONGEST:
        raise ValueError(f"it has more than {LONGEST // 1024} KiB, which no job or space needs")
    return content.decode()


def parse(text: str) -> Any:
    """Returns the values of a YAML text. Raises ValueError with what is wrong."""
    try:
        loader = _Loader(text)
        try:
            return loader.get_single_data()
        finally:
            loader.dispose()
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error
    except (AttributeError, LookupError, TypeError) as error:
        raise ValueError("a value is not what its tag (!!int, !!bool, …) says") from error


class _Loader(yaml.SafeLoader):
    def get_single_node(self) -> yaml.Node | None:
        """Counts the values before they are made of nodes: aliases of aliases may stand for any number of them."""
        node = super().get_single_node()
        if node is not None:
            _count(node, {})
        return node


def _count(node: yaml.Node, counted: dict[int, int | None]) -> int:
    """Returns how many values a node stands for. Raises ValueError for too many."""
    if id(node) in counted:
        if (known := counted[id(node)]) is None:
            raise ValueError("a value holds itself")
        return known
    counted[id(node)] = None
    children = [] if isinstance(node, yaml.ScalarNode) else node.value
    if isinstance(node, yaml.MappingNode):
        children = [child for pair in children for child in pair]
    count = 1 + sum(_count(child, counted) for child in children)
    if count > MOST:
        raise ValueError(f"it has more than {MOST} values, which no job or space needs")
    counted[id(node)] = count
    return count


def _whole_number(loader: _Loader, node: yaml.ScalarNode) -> int:
    if len(node.value) > LONGEST_NUMBER or abs(number := int(loader.construct_yaml_int(node))) >= LARGEST:
        raise ValueError(f"a number is too large: {node.value[:LONGEST_NUMBER]}")
    return number


_Loader.add_constructor("tag:yaml.org,2002:int", _whole_number)
