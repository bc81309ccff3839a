"""What the graphs, ratings, series, rankings and molecules hold, and that their models are those of the papers."""

import itertools
import math

import numpy as np
import pytest
import torch
from sklearn.metrics import ndcg_score, roc_auc_score

from contracts.task import splits
from lrcontrol.training.tasks import data, graphs, molecules, ranking, series
from lrcontrol.training.tasks.catalogue import TASKS
from lrcontrol.training.tasks.problem import build
from task_kit import with_data


@with_data("cora-gcn")
def test_cora_is_the_published_graph_and_split() -> None:
    graph = graphs.cora()
    assert graph.words.shape == (2708, 1433)
    assert graph.words.nnz == 49_216
    assert set(graph.words.data) == {1}
    assert graph.citations.nnz == 2 * 5278
    assert abs(graph.citations - graph.citations.T).nnz == 0
    assert graph.citations.diagonal().sum() == 0
    assert np.bincount(graph.classes).tolist() == [351, 217, 418, 818, 426, 298, 180]
    train, validation, test = (split.inputs for split in splits(build(TASKS["cora-gcn"], 0)))
    assert torch.equal(train, torch.arange(140))
    assert torch.equal(validation, torch.arange(140, 640))
    assert torch.equal(test, torch.arange(1708, 2708))
    assert np.bincount(graph.classes[:140]).tolist() == [20] * 7


@with_data("cora-gcn")
def test_the_graph_network_is_the_papers_two_equations() -> None:
    """Against dense matrices; dropout is off."""
    graph = graphs.cora()
    problem = build(TASKS["cora-gcn"], 1)
    model = problem.model.eval()
    looped = graph.citations.toarray().astype(np.float64) + np.eye(2708)
    degree = looped.sum(axis=1)
    adjacency = looped / np.sqrt(np.outer(degree, degree))
    words = graph.words.toarray().astype(np.float64)
    words /= words.sum(axis=1, keepdims=True)
    first, first_bias, second, second_bias = (each.detach().double().numpy() for each in model.parameters())
    hidden = np.maximum(adjacency @ words @ first.T + first_bias, 0)
    wanted = (adjacency @ hidden @ second.T + second_bias)[problem.test.inputs]
    np.testing.assert_allclose(model(problem.test.inputs).detach().numpy(), wanted, rtol=1e-4, atol=1e-6)


@with_data("coat-mf")
def test_coat_is_tested_on_all_pairs_drawn_at_random_and_trained_on_none_of_them() -> None:
    train, validation, test = splits(build(TASKS["coat-mf"], 0))
    assert test.targets.int().flatten().bincount().tolist() == [0, 1879, 899, 1002, 641, 219]
    assert len(train) + len(validation) == 6960 - 366
    assert 0.25 < float(train.targets.mean() - test.targets.mean()) < 0.5, "users rate what they like"
    assert torch.cat([split.inputs for split in (train, validation, test)]).amax(dim=0).tolist() == [289, 299]


@with_data("filmtrust-mf")
def test_filmtrust_has_every_pair_once() -> None:
    everything = torch.cat(
        [torch.cat([each.inputs, each.targets], 1) for each in splits(build(TASKS["filmtrust-mf"], 0))]
    )
    assert len(everything) == 35_494 == len(torch.unique(everything[:, :2], dim=0))
    assert everything.amin(dim=0).tolist() == [0, 0, 0.5]
    assert everything.amax(dim=0).tolist() == [1507, 2070, 4]
    twice = {tuple(row[:2].int().tolist()): float(row[2]) for row in everything if row[0] == 307}
    assert (twice[307, 11], twice[307, 206], twice[307, 234]) == (4, 3.5, 4)


@with_data("coat-mf")
def test_factorisation_is_the_papers_formula_and_its_gradients_are_dense() -> None:
    model = build(TASKS["coat-mf"], 1).model
    users, items, user_bias, item_bias = (each.detach() for each in model.parameters())
    pairs = torch.tensor([[3, 5], [7, 11]])
    wanted = [users[u] @ items[i] + user_bias[u, 0] + item_bias[i, 0] for u, i in pairs]
    outputs = model(pairs)
    torch.testing.assert_close(outputs, torch.stack(wanted)[:, None])
    outputs.sum().backward()
    for parameter, rows in zip(model.parameters(), ([3, 7], [5, 11]) * 2, strict=True):
        assert parameter.grad is not None
        assert not parameter.grad.is_sparse
        assert parameter.grad.any(dim=1).nonzero().flatten().tolist() == rows


@with_data("etth1-dlinear")
def test_etth1_windows_follow_the_months_and_are_scaled_on_the_first_twelve() -> None:
    columns = np.genfromtxt(data.read("etth1/ETTh1.csv").decode().splitlines()[1:], delimiter=",")[:, 1:]
    year = columns[: 12 * 720]
    hours = ((columns - year.mean(axis=0)) / year.std(axis=0)).astype(np.float32)
    for split, first, last in zip(
        splits(build(TASKS["etth1-lstm"], 0)), (0, 8640, 11_520), (8640, 11_520, 14_400), strict=True
    ):
        start = max(0, first - 96)
        np.testing.assert_allclose(split.inputs[0], hours[start : start + 96], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(split.targets[0], hours[start + 96 : start + 120], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(split.targets[-1], hours[last - 24 : last], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(split.inputs[-1], hours[last - 120 : last - 24], rtol=1e-5, atol=1e-6)


def test_dlinear_is_two_linear_maps_of_a_moving_mean_and_the_rest() -> None:
    torch.manual_seed(3)
    model = series.DLinear(seen=12, wanted=4, window=5)
    hours = torch.randn(2, 12, 3)
    found = model(hours)
    for row in range(2):
        for number in range(3):
            line = hours[row, :, number]
            held = torch.cat([line[:1].repeat(2), line, line[-1:].repeat(2)])
            mean = torch.stack([held[hour : hour + 5].mean() for hour in range(12)])
            wanted = model.trend(mean) + model.rest(line - mean)
            torch.testing.assert_close(found[row, :, number], wanted)


@with_data("lambdarank-mlp")
def test_ranking_splits_by_query_and_no_document_is_in_two_splits() -> None:
    parts = splits(build(TASKS["lambdarank-mlp"], 0))
    documents = [{row.numpy().tobytes() for row in part.inputs[part.targets != -100]} for part in parts]
    assert not documents[0] & documents[1]
    assert not documents[0] & documents[2]
    assert not documents[1] & documents[2]
    grades = torch.cat([part.targets for part in parts])
    assert [int((part.targets != -100).sum()) for part in parts][2] == 768
    assert sorted(grades[grades != -100].unique().tolist()) == [0, 1, 2, 3, 4]
    assert all(len(set(row[row >= 0].tolist())) > 1 for row in grades)


def test_ndcg_is_scikit_learns_where_there_is_no_tie_and_the_loss_falls_to_nothing_in_the_right_order() -> None:
    generator = torch.Generator().manual_seed(2)
    grades = torch.randint(0, 5, (6, 14), generator=generator)
    scores = torch.randn(6, 14, generator=generator)
    wanted = [
        ndcg_score((2.0**grade - 1)[None], score[None], k=10)
        for grade, score in zip(grades.numpy(), scores.numpy(), strict=True)
    ]
    np.testing.assert_allclose(ranking.ndcg(scores, grades), wanted, rtol=1e-6)
    padded = torch.cat([grades, torch.full((6, 5), -100)], 1)
    wider = torch.cat([scores, torch.full((6, 5), 99.0)], 1)
    np.testing.assert_allclose(ranking.ndcg(wider, padded), wanted, rtol=1e-6)
    torch.testing.assert_close(ranking.lambda_loss(wider, padded), ranking.lambda_loss(scores, grades))
    assert float(ranking.lambda_loss(100.0 * grades, grades)) < 1e-6 < float(ranking.lambda_loss(scores, grades))


def test_lambda_gradients_are_the_papers_pair_by_pair() -> None:
    """A slow twin: every document's lambda as the sum over its pairs, for one query."""
    grades, scores = torch.tensor([[0, 3, 1, 0]]), torch.tensor([[0.3, -0.2, 0.9, 0.1]], requires_grad=True)
    ranking.lambda_loss(scores, grades).backward()
    now, gains, places = scores[0].tolist(), (2.0 ** grades[0] - 1).tolist(), [1, 3, 0, 2]
    best = sum(gain / math.log2(place + 2) for place, gain in enumerate(sorted(gains, reverse=True)))
    wanted = [0.0] * 4
    for high, low in itertools.permutations(range(4), 2):
        if gains[high] > gains[low]:
            change = (
                (gains[high] - gains[low]) * (1 / math.log2(places[high] + 2) - 1 / math.log2(places[low] + 2)) / best
            )
            push = abs(change) / (1 + math.exp(now[high] - now[low]))
            wanted[high] -= push
            wanted[low] += push
    assert scores.grad is not None
    assert scores.grad[0].tolist() == pytest.approx(wanted, rel=1e-5)


@with_data("tox21-mlp")
def test_tox21_has_missing_labels_that_count_nowhere() -> None:
    problem = build(TASKS["tox21-mlp"], 0)
    everything = torch.cat([split.targets for split in splits(problem)])
    assert everything.unique().tolist() == [-100, 0, 1]
    measured = (everything != -100).sum(dim=0)
    assert 5000 < int(measured.min()) <= int(measured.max()) < 7743
    rates = (everything == 1).sum(dim=0) / measured
    assert 0.02 < float(rates.min()) < float(rates.max()) < 0.18
    targets = problem.test.targets[:50]
    outputs = torch.randn(50, 12, generator=torch.Generator().manual_seed(1))
    changed = outputs.where(targets != -100, 1e6)
    assert problem.loss(outputs, targets) == problem.loss(changed, targets)
    assert problem.metrics(outputs, problem.test.targets[:50]) == problem.metrics(changed, targets)


def test_the_mean_area_is_scikit_learns_and_is_no_number_for_outputs_that_are_none() -> None:
    generator = torch.Generator().manual_seed(4)
    labels = torch.randint(0, 2, (80, 3), generator=generator)
    labels[::7, 1] = -100
    scores = torch.randn(80, 3, generator=generator).round(decimals=1)
    wanted = [roc_auc_score(y[y >= 0], s[y >= 0]) for y, s in zip(labels.numpy().T, scores.numpy().T, strict=True)]
    assert molecules.mean_auc(scores, labels)["auc"] == pytest.approx(np.mean(wanted), rel=1e-12)
    assert math.isnan(molecules.mean_auc(scores * math.nan, labels)["auc"])


@with_data("esol-cnn")
def test_characters_that_train_lacks_are_unknown() -> None:
    train, validation, test = (split.inputs for split in splits(build(TASKS["esol-cnn"], 0)))
    assert set(train.unique().tolist()) == set(range(int(train.max()) + 1)) - {1}
    assert max(validation.max(), test.max()) <= train.max()
    assert train.shape[1] == 97


def test_padding_changes_no_output() -> None:
    torch.manual_seed(0)
    model = molecules.TextNet(9, width=8).eval()
    texts = torch.randint(1, 9, (4, 11), generator=torch.Generator().manual_seed(5))
    mine = model(texts)
    torch.testing.assert_close(model(torch.nn.functional.pad(texts, (0, 7))), mine)
