"""The module that goes with a standalone config: one file of our own sources that knows no tuner."""

import ast
import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch
from mmcv.runner import HOOKS
from torch import nn

from tuner.export.self_contained import module_text


@pytest.fixture(scope="module")
def text() -> str:
    return module_text()


def test_it_imports_no_tuner_and_says_its_licence(text: str) -> None:
    imported = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {getattr(node, "module", None) or node.names[0].name for node in imported}
    assert not [name for name in names if name.partition(".")[0] == "tuner"]
    assert {"mmcv", "torch"} <= names
    assert "Apache License, Version 2.0" in text.partition('"""')[0]


def test_python_3_9_reads_it(text: str) -> None:
    ast.parse(text, feature_version=(3, 9))
    zips = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call) and _name(node) == "zip"]
    assert zips
    assert not [node for node in zips if node.keywords]


def _name(call: ast.Call) -> str:
    return getattr(call.func, "id", "")


def test_nothing_is_defined_twice_or_missing(text: str) -> None:
    tree = ast.parse(text)
    defined = [node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    assert len(defined) == len(set(defined))
    assert {"ContextCluster", "ContextClusterLayerDecay", "AlignResize", "ShrinkImages"} <= set(defined)
    assert not [name for name in defined if name == "SampleStream"]


def test_its_hooks_train_in_bf16(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("written_alone")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(text, "written_alone.py", "exec"), vars(module))
    model = nn.Linear(2, 2)
    module.MixedPrecisionHook("bf16").before_run(SimpleNamespace(model=model))
    assert model(torch.ones(1, 2)).dtype is torch.bfloat16
    assert module.LossScalingOptimizerHook is not HOOKS.get("LossScalingOptimizerHook")
