"""What may import what: one direction, torch only where networks are, runtimes only where they are used."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ORDER = ("profilers", "lut", "hwnas")  # each may import those before it
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for package in ORDER
    for path in sorted((ROOT / package).rglob("*.py"))
}
WITHOUT_TORCH = (
    "profilers", "lut", "hwnas.spaces", "hwnas.search",
    *(f"hwnas.{name}" for name in ("arch", "space", "pricing", "profiling", "progress", "workspace", "report")),
)  # fmt: skip
RUNTIMES = {
    "onnxruntime", "ai_edge_litert", "ai_edge_quantizer", "tensorflow", "tflite_runtime", "openvino", "tensorrt",
    "ncnn", "MNN",
}  # fmt: skip
TORCH_AS_A_RUNTIME = "profilers.backends.torch"  # and torch_cuda takes it from there
ONNX_FILES = ("profilers.formats.onnx", "profilers.formats._onnx_reading")
TFLITE_WRITER = "profilers.formats.tflite"
PICKLES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def imports(module: str, *, inside_functions: bool) -> set[str]:
    """Names a module imports, `from a import b` as both `a` and `a.b`; those for type checkers left out."""

    def walk(node: ast.AST) -> Iterator[str]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                yield from (name.name for name in child.names)
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0 and child.module, f"{module}: relative imports hide where a name comes from"
                yield child.module
                yield from (f"{child.module}.{name.name}" for name in child.names)
            elif is_type_checking(child):
                continue
            elif inside_functions or not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                yield from walk(child)

    return set(walk(ast.parse(MODULES[module].read_text("utf-8"))))


def roots(module: str, *, inside_functions: bool) -> set[str]:
    """The packages that a module imports from."""
    return {name.split(".")[0] for name in imports(module, inside_functions=inside_functions)}


def loaded_with(module: str) -> set[str]:
    """All that importing a module imports, modules of ours followed, with the packages they are in."""
    seen, todo = set[str](), [module]
    while todo:
        name = todo.pop()
        if name in seen:
            continue
        seen.add(name)
        todo += [name.rpartition(".")[0]] if "." in name else []
        if name in MODULES:
            todo += imports(name, inside_functions=False)
    return seen


def within(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_one_way(module: str) -> None:
    allowed = ORDER[: ORDER.index(module.split(".", maxsplit=1)[0]) + 1]
    ours = roots(module, inside_functions=True) & {*ORDER, "tests", "tools"}
    assert ours <= set(allowed)


@pytest.mark.parametrize("module", [m for m in MODULES if any(within(m, package) for package in WITHOUT_TORCH)])
def test_measuring_pricing_and_searching_never_import_torch(module: str) -> None:
    if module != TORCH_AS_A_RUNTIME:
        assert not any(within(name, "torch") for name in imports(module, inside_functions=True))
    assert "torch" not in loaded_with(module)
    for name in imports(module, inside_functions=True) & MODULES.keys():
        assert "torch" not in loaded_with(name), f"{module} imports {name}, which imports torch"


def test_networks_do_import_torch() -> None:
    """So that the rule above is about imports that this file can see."""
    assert "torch" in loaded_with("hwnas.nets.supernet") and "torch" in loaded_with("hwnas.specialize")


@pytest.mark.parametrize("module", MODULES)
def test_only_a_backend_imports_a_runtime_and_only_when_it_is_used(module: str) -> None:
    used = roots(module, inside_functions=True) & RUNTIMES
    # The schema of TFLite files and what makes them int8 are in packages of the runtime's.
    allowed = {"ai_edge_litert", "ai_edge_quantizer"} if module == TFLITE_WRITER else set()
    assert used <= allowed or (module.startswith("profilers.backends.") and "ai_edge_quantizer" not in used)
    assert not roots(module, inside_functions=False) & RUNTIMES


@pytest.mark.parametrize("module", MODULES)
def test_only_writer_and_reader_and_runtimes_that_interpret_it_know_onnx(module: str) -> None:
    if "onnx" in roots(module, inside_functions=True):
        assert module in (*ONNX_FILES, "profilers.backends.fake", TORCH_AS_A_RUNTIME)
    if "onnx" in roots(module, inside_functions=False):
        assert module in ONNX_FILES


@pytest.mark.parametrize("module", MODULES)
def test_only_the_tflite_writer_knows_flatbuffers_and_only_when_it_writes(module: str) -> None:
    assert ("flatbuffers" in roots(module, inside_functions=True)) == (module == TFLITE_WRITER)
    assert "flatbuffers" not in roots(module, inside_functions=False)


@pytest.mark.parametrize("module", MODULES)
def test_nothing_reads_pickles(module: str) -> None:
    assert not roots(module, inside_functions=True) & PICKLES
    for node in ast.walk(ast.parse(MODULES[module].read_text("utf-8"))):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
            assert any(k.arg == "weights_only" and ast.unparse(k.value) == "True" for k in node.keywords)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "np.load":
            assert not any(k.arg == "allow_pickle" for k in node.keywords)


@pytest.mark.parametrize("module", [m for m in MODULES if m.startswith("hwnas.") and not m.startswith("hwnas.cli")])
def test_only_the_command_line_prints_exits_or_reads_the_environment(module: str) -> None:
    tree = ast.parse(MODULES[module].read_text("utf-8"))
    called = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    named = {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    if module != "hwnas.__main__":
        assert not called & {"print", "exit", "sys.exit", "os._exit"}
    assert not named & {"os.environ", "os.getenv", "sys.stdout", "sys.stderr"}


def modules_after(*arguments: str) -> set[str]:
    program = (
        "import sys\nfrom hwnas.cli import main\n"
        f"code = main({list(arguments)!r})\n"
        "print('LOADED', *sorted({name.split('.')[0] for name in sys.modules}))\nsys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True)
    return set(done.stdout.rsplit("LOADED", 1)[1].split())


def test_help_loads_nothing_that_computes() -> None:
    loaded = modules_after("--help")
    assert "typer" in loaded
    assert not loaded & {"torch", "sklearn", "scipy", "matplotlib", "numpy", "onnx", "onnxruntime"}


def test_devices_are_listed_without_torch(tmp_path: Path) -> None:
    loaded = modules_after("devices", "--workspace", str(tmp_path), "--json")
    assert "numpy" in loaded
    assert not loaded & {"torch", "sklearn", "scipy", "matplotlib", *RUNTIMES - {"onnxruntime"}}


def test_profiling_needs_neither_torch_nor_pictures(tmp_path: Path) -> None:
    loaded = modules_after("profile", "--runtime", "fake", "--workspace", str(tmp_path), "--json")
    assert "onnx" in loaded
    assert not loaded & {"torch", "sklearn", "matplotlib"}
