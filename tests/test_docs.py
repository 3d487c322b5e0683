"""What the documents say can be done is done; what they point to is there."""

from __future__ import annotations

import ast
import inspect
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import typer

from voxangle import objectives
from voxangle.cli import app
from voxangle.data import Trials
from voxangle.encoders.figures import figures

ROOT = Path(__file__).parents[1]
METHOD = ROOT / "docs" / "method.md"


def python_blocks(document: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", document, re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def method() -> str:
    return METHOD.read_text(encoding="utf-8")


def test_the_python_of_the_method_runs_and_trains(method: str) -> None:
    torch.manual_seed(0)
    names: dict[str, Any] = {}
    first_step = method.replace("range(20)", "range(1)")
    for block in python_blocks(first_step):
        exec(block, names)
    before = float(sum(names["losses"]).detach())
    torch.manual_seed(0)
    for block in python_blocks(method):
        exec(block, names)
    assert float(sum(names["losses"]).detach()) < before
    assert names["encoder"].weight.grad.norm() > 0
    assert names["prototypes"].grad.norm() > 0


def test_the_python_of_the_corpora_page_draws_a_list(
    voices: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my").mkdir()
    (tmp_path / "my" / "recordings").symlink_to(voices)
    monkeypatch.chdir(tmp_path)
    (block,) = python_blocks((ROOT / "docs" / "corpora.md").read_text(encoding="utf-8"))
    exec(block, {})
    assert len(Trials.read(tmp_path / "mine.txt")) == 230


@pytest.mark.parametrize("example", ["plain_pytorch.py", "lightning_module.py"])
def test_the_three_lines_of_the_method_are_those_of_the_examples(method: str, example: str) -> None:
    program = (
        (ROOT / "examples" / example).read_text().replace("self.", "").replace("mgda(floor=0.4)", "balancer")
    )
    shown = python_blocks(method)[0].replace("mgda(floor=0.4)", "balancer")
    for name in ("attention", "losses"):
        assert assigned(shown, name) == assigned(program, name)
    assert "backward_balanced(losses, embeddings, balancer)" in shown
    assert "backward_balanced(losses, embeddings, balancer)" in program


def assigned(source: str, name: str) -> list[str]:
    return [
        ast.unparse(node.value)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name
    ]


@pytest.mark.parametrize(
    "function",
    [
        objectives.supervised_contrastive_loss,
        objectives.class_aware_attention,
        objectives.aam_softmax_loss,
        objectives.mgda,
        objectives.backward_balanced,
    ],
)
def test_the_method_explains_every_switch(method: str, function: Callable[..., Any]) -> None:
    switches = [
        name
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
    ]
    assert [switch for switch in switches if not re.search(rf"`{switch}[`=]", method)] == []


DOCUMENTS = [
    "README.md",
    "CONTRIBUTING.md",
    *sorted(str(p.relative_to(ROOT)) for p in ROOT.glob("docs/*.md")),
]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document: str) -> None:
    path = ROOT / document
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
        if target.startswith("https://"):
            continue
        file, _, anchor = target.partition("#")
        goal = path.parent / file if file else path
        assert goal.exists(), target
        assert not anchor or anchor in anchors(goal), target


def shell_commands(document: str) -> list[list[str]]:
    """What the page types after ``voxangle``, a list of words each."""
    blocks = re.findall(r"^```(?:sh|bash)\n(.*?)^```", document, re.DOTALL | re.MULTILINE)
    found = []
    for line in "\n".join(blocks).replace("\\\n", " ").splitlines():
        words = shlex.split(re.sub(r"\$SET|\[|\]|\.\.\.", "", line), comments=True)
        found += [words[i + 1 :] for i, word in enumerate(words) if _is_the_command(word, words[:i])]
    return found


def _is_the_command(word: str, before: list[str]) -> bool:
    """Whether it is run here: not the name of a user, a folder or a package."""
    begins = all("=" in one for one in before) or before[-1] == "-m"
    return (begins and word == "voxangle") or word.endswith("/bin/voxangle")


@pytest.mark.parametrize("document", DOCUMENTS)
def test_what_a_page_types_is_understood(document: str) -> None:
    commands = shell_commands((ROOT / document).read_text(encoding="utf-8"))
    assert commands or document not in {"README.md", "docs/corpora.md"}
    for words in commands:
        command: Any = typer.main.get_command(app)
        context = command.make_context("voxangle", list(words))
        # A group may be a command too (`voxangle serve`): then nothing is left behind its options.
        while hasattr(command, "resolve_command") and (rest := [*context._protected_args, *context.args]):
            name, command, words = command.resolve_command(context, rest)
            assert command is not None
            context = command.make_context(name, list(words), parent=context)  # refuses an unknown option
        for recipe in re.findall(r"recipes/\S+\.yaml", " ".join(words)):
            assert (ROOT / recipe).exists(), recipe


def anchors(document: Path) -> set[str]:
    titles = re.findall(r"^#+ (.*)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_every_trap_of_the_method_has_its_test(method: str) -> None:
    section = method.split("## 8. Traps")[1].split("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| ")][1:]
    tests = {
        node.name
        for file in (ROOT / "tests" / "objectives").glob("test_*.py")
        for node in ast.parse(file.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef)
    }
    assert len(rows) == 9
    for defect, *_, named in rows:
        guards = re.findall(r"`(test_\w+)`", named)
        assert guards, f"no test is named for: {defect}"
        assert set(guards) <= tests


def test_display_math_keeps_to_what_github_renders(method: str) -> None:
    # Outside of a ```math block Markdown eats backslashes before punctuation; these macros GitHub refuses.
    inline = re.sub(r"^```.*?^```|`[^`\n]*`", "", method, flags=re.DOTALL | re.MULTILINE)
    assert inline.count("$") % 2 == 0
    assert "$$" not in inline
    for formula in re.findall(r"\$([^$]+)\$", inline):
        assert not re.search(r"\\[^A-Za-z]|\n|[<>*]", formula), formula
    assert r"\operatorname" not in method


def test_the_table_of_encoders_is_what_is_counted() -> None:
    page = (ROOT / "docs" / "encoders.md").read_text(encoding="utf-8")
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if " M |" in line
    ]
    counted = [
        [
            f"`{row.architecture}`",
            row.settings,
            f"{row.parameters / 1e6:.2f} M",
            f"{row.multiply_adds / 1e9:.2f} G",
            str(row.dimension),
        ]
        for row in figures()
    ]
    assert [row[:5] for row in rows] == counted


def test_the_encoder_of_the_page_is_added_as_it_says(recipe_file: Path, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "encoders.md").read_text(encoding="utf-8")
    module, lines = python_blocks(page)
    imported, entry = (line for line in lines.splitlines() if line)
    source = tmp_path / "src" / "voxangle"
    shutil.copytree(ROOT / "src" / "voxangle", source, ignore=shutil.ignore_patterns("__pycache__"))
    (source / "encoders" / "x_vector.py").write_text(module)
    registry = source / "encoders" / "registry.py"
    text = registry.read_text().replace("\n__all__", f"{imported}\n\n__all__", 1)
    registry.write_text(text.replace("= {\n", f"= {{\n    {entry}\n", 1))
    contract = tmp_path / "test_contract.py"
    text = (ROOT / "tests" / "encoders" / "test_contract.py").read_text()
    contract.write_text(text.replace("]] = {\n", ']] = {\n    "x_vector": {"channels": 8},\n', 1))
    program = """
import sys
import pytest
from pathlib import Path
from voxangle.encoders import Embedder
from voxangle.encoders.figures import figures
from voxangle.recipe import Recipe
from voxangle.training.loop import train

assert "x_vector" in [row.architecture for row in figures()]
recipe = Recipe.read(sys.argv[1], ["encoder={architecture: x_vector, channels: 16, dimension: 12}", "schedule.steps=5"])
assert Embedder.load(train(recipe, Path(sys.argv[2]))).dimension == 12
assert pytest.main([sys.argv[3], "-q", "-W", "error", "-p", "no:cacheprovider", "-k", "x_vector or registered"]) == 0
"""
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "src"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program, str(recipe_file), str(tmp_path / "run"), str(contract)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
