"""What the pages show and tabulate: spaces, tables, recoveries, sizes and smallest p."""

import os
import re
from pathlib import Path

import pytest
import timm
import torch
import yaml
from safetensors.torch import save_file

from sparsenas import (
    comparison,
    networks,
    spaces,
    sparse_coding,
)
from sparsenas.api.compare import image_session
from sparsenas.comparison.images import paired_test
from sparsenas.complexity import Complexity, count_parameters
from sparsenas.limits import Limits

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
CONFIGS = {path.stem: path for path in (ROOT / "configs").glob("*.yaml")}


def recovered(kind, m, solver, draws=40):
    """Recoveries of Gaussian ``b``, and how often the support of an exact 2-sparse code is found."""
    generator = torch.Generator().manual_seed(0)
    sizes = tuple(len(block) for block in spaces.DartsSpace().blocks[:4])
    found, seen = torch.zeros(4), []
    dictionary = sparse_coding.make_dictionary(kind, sizes, m, generator)
    for _ in range(draws):
        if kind == "uniform":
            dictionary = sparse_coding.make_dictionary(kind, sizes, m, generator)
        problem = sparse_coding.RecoveryProblem(dictionary, sizes, 2)
        b = torch.randn(4, m, generator=generator, dtype=torch.float64)
        recovery = solver.solve(problem, b)
        weights = sparse_coding.architecture_weights(b, dictionary, recovery.code, recovery.support)
        opposite = (weights * recovery.code.gather(1, recovery.support) < 0).double().mean(1)
        certificate = recovery.certificate
        seen.append(torch.stack([certificate.nonzeros, certificate.l1_share, certificate.residual, opposite]))
        support = torch.stack([torch.randperm(n, generator=generator)[:2].sort().values for n in sizes])
        code = torch.zeros(4, max(sizes), dtype=torch.float64)
        code.scatter_(1, support, torch.randn(4, 2, generator=generator, dtype=torch.float64))
        image = (dictionary @ code[:, :, None])[:, :, 0]
        found += (solver.solve(problem, image).support == support).all(1)
    return torch.stack(seen).mean(0), found / draws, sparse_coding.mutual_coherence(dictionary, sizes)


@pytest.mark.slow
def test_official_recovery_is_what_the_method_page_tabulates():
    (nonzeros, l1_share, residual, opposite), found, coherence = recovered(
        "uniform", 7, sparse_coding.LarsSolver(), draws=150
    )
    assert nonzeros.tolist() == [7.0] * 4
    assert ((l1_share > 0.5) & (l1_share < 0.6)).all()
    assert residual[[0, 3]].tolist() == pytest.approx([1.0, 0.7], abs=0.1)
    assert opposite.mean() == pytest.approx(0.25, abs=0.05)
    assert found[[0, 3]].tolist() == pytest.approx([0.9, 0.55], abs=0.1)
    assert coherence.mean() == pytest.approx(0.97, abs=0.02)


def test_default_recovery_is_what_the_method_page_tabulates():
    (_, _, _, opposite), found, coherence = recovered("low_coherence", 8, sparse_coding.ExactSolver())
    assert opposite.max() == 0
    assert found.tolist() == [1.0] * 4
    assert ((coherence > 0.25) & (coherence < 0.4)).all()


@pytest.mark.slow
@pytest.mark.skipif("SPARSENAS_DATA" not in os.environ, reason="SPARSENAS_DATA is not set: no real tables")
@pytest.mark.parametrize(
    ("page", "printed"),
    [
        ("ranking.md", ["| non-pool edges | 0.791 |", "| last snapshot | ", "| mean snapshot | 0.658 |"]),
        ("tables.md", [" 91.6067", "Cost(parameters="]),
        ("predictors.md", ["0.", " after 0.", " s"]),
    ],
)
def test_tables_are_asked_as_the_pages_show(docs, page, printed, capsys):
    docs.run_snippet(*docs.code_blocks(page), page)
    text = capsys.readouterr().out
    assert [part for part in printed if part not in text] == []


def test_networks_of_timm_are_entries_of_a_comparison_on_images(docs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = yaml.safe_load(CONFIGS["compare_images"].read_text(encoding="utf-8"))
    config["budget"] = {"max_params": 1e6}
    config["competitors"] = yaml.safe_load(docs.code_blocks("compare.md", "yaml")[1])["competitors"]
    options = config["competitors"]["fine_tuned"]["timm"]
    save_file(timm.create_model(options["model"]).state_dict(), options["pretrained"])
    Path("own.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    session = image_session("own.yaml", tmp_path)
    session.check()
    assert {run.searcher for run in session.runs} == {"resnet8", "from_scratch", "fine_tuned"}


def test_sizes_of_pretrained_networks_are_those_of_the_page_on_comparisons():
    sizes = dict(re.findall(r"`(mobilenetv3\w+)` (\d\.\d) M", (DOCS / "compare.md").read_text(encoding="utf-8")))
    assert len(sizes) == 2
    for name, size in sizes.items():
        assert f"{count_parameters(timm.create_model(name, num_classes=0)) / 1e6:.1f}" == size


def test_smallest_p_of_wilcoxon_is_what_the_page_on_comparisons_gives():
    for seeds, smallest in ((3, 0.25), (6, 0.03)):
        better = paired_test("x", {seed: 1.0 + seed for seed in range(seeds)}, dict.fromkeys(range(seeds), 0.0))
        assert better.p_wilcoxon == pytest.approx(smallest, abs=0.005)


def test_smallest_p_of_sign_tests_is_what_the_page_on_comparisons_gives():
    smallest = [comparison.sign_test([1.0] * runs, 0.0).p for runs in (5, 10)]
    assert smallest == [pytest.approx(0.06, abs=0.005), pytest.approx(0.002, abs=0.0005)]


def test_spaces_as_the_page_shows_them(docs, capsys):
    scope = docs.run_snippet(docs.code_blocks("spaces.md")[0], "spaces.md")
    text, parameters = capsys.readouterr().out.split()
    assert scope["space"].from_string(text) == scope["genotype"]
    assert sum(p.numel() for p in scope["published"].parameters()) == int(parameters)
    assert scope["logits"].shape == (4, 10)


def test_a_reference_network_fills_the_budget_of_the_page(docs, capsys):
    docs.run_snippet(docs.code_blocks("spaces.md")[1], "spaces.md")
    channels = int(capsys.readouterr().out)
    genotype, limits = spaces.read_genotype("resnet8"), Limits(max_params=40e3, max_macs=2e6)
    costs = [Complexity(*networks.stage_cost(genotype, (3, 16, 16), 10, width)) for width in (channels, channels + 2)]
    assert [limits.allow(cost) for cost in costs] == [True, False]
