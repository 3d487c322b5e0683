"""The study's table says what the ablation says, and no more."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.study import main


def figure(value: float, reach: float) -> dict[str, float]:
    return {"value": value, "low": value - reach, "high": value + reach}


def comparison(variant: str, value: float, p_holm: float | None, speakers: int = 80) -> dict[str, Any]:
    return {
        "variant": variant,
        "against": "aam",
        "seeds": [1, 2],
        "speakers": speakers,
        "eer": figure(value, 0.005),
        "min_dcf": [],
        "p_value": 0.001,
        "p_holm": p_holm,
    }


def table(name: str, condition: str, *comparisons: dict[str, Any]) -> dict[str, Any]:
    errors = {"aam": 0.1, "full": 0.08, "supcon": 0.12}
    return {
        "name": name,
        "condition": condition,
        "trials_sha256": "0" * 64,
        "counts": {
            "trials": 9,
            "targets": 4,
            "nontargets": 5,
            "utterances": 6,
            "speakers": 80,
            "models": 0,
        },
        "means": [
            {
                "variant": variant,
                "seeds": [1, 2],
                "eer": figure(error, 0.01),
                "eer_of_seeds": [error, error],
                "eer_spread": 0.0,
                "min_dcf": [],
            }
            for variant, error in errors.items()
        ],
        "comparisons": comparisons,
        "notes": [],
    }


@pytest.fixture
def found(tmp_path: Path) -> Path:
    content = {
        "recipe": {},
        "variants": {"aam": [], "full": ["a=1"], "supcon": ["a=2"], "missing": ["a=3"]},
        "baseline": "aam",
        "tested_on": "lists",
        "protocol": {"p_targets": [0.01], "scoring": "cosine"},
        "replicates": 1000,
        "tests": 2,
        "lists": [
            table("pooled", "", comparison("full", -0.02, 0.01), comparison("supcon", 0.02, 0.2)),
            table(
                "pooled", "cross language", comparison("full", -0.02, None), comparison("supcon", 0.001, None)
            ),
        ],
        "runs": [],
        "voxangle": "0",
        "command": "voxangle ablate",
        "machine": {"cpu": "", "cores": 2, "system": "", "python": "", "numpy": "", "torch": ""},
        "date": "2026-01-01",
    }
    path = tmp_path / "ablation.json"
    path.write_text(json.dumps(content))
    return path


def test_bold_is_what_the_data_tells_apart(found: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(
        [str(found), "--lists", "pooled, cross language", "pooled", "--draw", str(found.with_suffix(".svg"))]
    )
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "| variant | pooled, cross language<br>80 speakers | pooled<br>80 speakers |",
        "|---|---|---|",
        "| `aam` | 10.00 | 10.00 |",
        "| `full` | 8.00<br>-2.00 [-2.50, -1.50] | 8.00<br>**-2.00 [-2.50, -1.50]** |",
        "| `supcon` | 12.00<br>+0.10 [-0.40, +0.60] | 12.00<br>+2.00 [+1.50, +2.50] |",
        "| `missing` | - | - |",
        "",
    ]
    drawn = found.with_suffix(".svg").read_text()
    assert drawn.lower().count("#0072b2") >= 2  # the one that errs less, in its own colour
    assert "#d55e00" not in drawn.lower()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--lists", "poled"], "no list 'poled' in it; did you mean 'pooled'?"),
        (["--lists", "pooled", "--headings", "a", "b"], "2 headings for 1 panels"),
    ],
)
def test_mistakes_are_told(
    found: Path, change: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([str(found), *change])
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_what_is_no_ablation_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([str(tmp_path / "none.json"), "--lists", "pooled"])
    assert "none.json: no table of an ablation" in capsys.readouterr().err
