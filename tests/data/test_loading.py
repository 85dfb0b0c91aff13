import multiprocessing
import os
import signal
from itertools import chain

import numpy as np
import pytest
import torch
from PIL import Image
from pytorch_lightning.utilities import CombinedLoader

from sparsenas.data import ImageFolder
from sparsenas.data.loading import BatchLoader, BatchSampler, Draw, InMemory
from sparsenas.errors import ConfigError, DataError


def indices(sampler):
    return [draw.indices.tolist() for draw in sampler]


def train(size=23, batch_size=4, **options):
    return BatchSampler(np.arange(100, 100 + size), batch_size, train=True, **options)


def test_training_drops_the_remainder_and_repeats_no_image():
    batches = indices(train())
    assert [len(batch) for batch in batches] == [4] * 5 == [4] * len(train())
    seen = list(chain(*batches))
    assert len(set(seen)) == 20
    assert set(seen) <= set(range(100, 123))


def test_evaluation_keeps_order_and_all_images_in_batches_of_nearly_equal_size():
    sampler = BatchSampler(np.arange(5, 14), 4, train=False)
    assert indices(sampler) == [[5, 6, 7], [8, 9, 10], [11, 12, 13]]  # not 4, 4, 1
    assert len(sampler) == 3
    assert all(draw.entropy is None for draw in sampler)
    assert indices(BatchSampler(np.arange(0), 4, train=False)) == []


def test_order_is_a_function_of_seed_epoch_and_stream():
    def order(epoch=0, **options):
        sampler = train(**options)
        sampler.set_epoch(epoch)
        return indices(sampler)

    assert order() == order()
    assert order(epoch=1) == order(epoch=1)
    assert len({str(o) for o in (order(), order(epoch=1), order(seed=1), order(stream=1))}) == 4


def test_no_two_draws_share_their_randomness():
    sampler = train()
    entropies = [draw.entropy for _ in range(2) for draw in sampler]
    assert len(set(entropies)) == 10


def test_fixed_order_for_overfitting():
    sampler = train(shuffle=False)
    first = indices(sampler)
    sampler.set_epoch(1)
    assert indices(sampler) == first == indices(sampler)


@pytest.mark.parametrize("world_size", [2, 3])
def test_ranks_divide_one_order(world_size):
    ranks = [indices(train(rank=rank, world_size=world_size)) for rank in range(world_size)]
    assert len({len(batches) for batches in ranks}) == 1
    seen = [index for batches in ranks for batch in batches for index in batch]
    assert len(set(seen)) == len(seen)
    whole = list(chain(*indices(train(batch_size=1))))
    for rank, batches in enumerate(ranks):
        mine = list(chain(*batches))
        assert mine == whole[rank::world_size][: len(mine)]


def test_ranks_together_evaluate_every_image_once():
    ranks = [indices(BatchSampler(np.arange(10), 2, train=False, rank=rank, world_size=4)) for rank in range(4)]
    assert sorted(index for batches in ranks for batch in batches for index in batch) == list(range(10))


def test_setting_the_epoch_after_making_the_iterator_counts():
    late, early = train(), train()
    iterator = iter(late)
    late.set_epoch(3)
    early.set_epoch(3)
    assert [draw.indices.tolist() for draw in iterator] == indices(early)


def streams():
    data = InMemory(torch.arange(30, dtype=torch.uint8).view(30, 1, 1, 1), torch.arange(30))
    samplers = {
        "weights": BatchSampler(np.arange(18), 2, train=True, seed=1, stream=0),
        "arch": BatchSampler(np.arange(18, 30), 3, train=True, seed=1, stream=1),
    }
    return {name: BatchLoader(data, sampler) for name, sampler in samplers.items()}


def epochs(numbers):
    """Labels of both streams over some epochs, as Lightning would draw them."""
    loaders = streams()
    combined = CombinedLoader(loaders, "max_size_cycle")
    seen = []
    for epoch in numbers:
        iterator = iter(combined)
        for loader in loaders.values():
            loader.sampler.set_epoch(epoch)
        seen.append([{name: labels.tolist() for name, (_, labels) in batch.items()} for batch, _, _ in iterator])
    return seen


def test_cycled_streams_resume_at_epoch_boundaries():
    assert epochs(range(4))[2:] == epochs([2, 3])


def test_cycled_stream_is_shuffled_anew_and_complete_within_each_pass():
    batches = [batch["arch"] for batch in epochs([0])[0]]
    assert len(batches) == 9
    first, second = list(chain(*batches[:4])), list(chain(*batches[4:8]))
    assert sorted(first) == sorted(second) == list(range(18, 30))
    assert first != second


def test_batches_are_pairs_of_tensors():
    images, labels = next(iter(streams()["arch"]))
    assert images.dtype == torch.uint8
    assert images.shape == (3, 1, 1, 1)
    assert labels.dtype == torch.int64
    assert torch.equal(images.flatten().long(), labels)


class Broken:
    def __len__(self):
        return 8

    def __getitem__(self, draw: Draw):
        if 5 in draw.indices:
            raise DataError("b.png: not a readable image")
        return torch.zeros(len(draw.indices), 1, 2, 2, dtype=torch.uint8), torch.from_numpy(draw.indices)


@pytest.fixture
def worker_loader():
    loader = BatchLoader(Broken(), BatchSampler(np.arange(8), 2, train=False), num_workers=1)
    yield loader
    assert multiprocessing.active_children()
    CombinedLoader(loader, "sequential").reset()  # as Lightning does when a run ends
    assert not multiprocessing.active_children()


def test_workers_give_the_same_batches_and_clean_errors(worker_loader):
    state = torch.get_rng_state()
    for _ in range(2):  # workers outlive a pass
        batches = iter(worker_loader)
        assert [next(batches)[1].tolist() for _ in range(2)] == [[0, 1], [2, 3]]
        with pytest.raises(DataError, match=r"^b\.png: not a readable image$"):
            next(batches)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.slow
def test_workers_that_are_spawned_give_the_same_batches(tmp_path):
    """As on Windows and macOS, where a worker gets everything by pickle."""
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for number in range(8):
            pixels = np.full((12, 12, 3), 20 * number, np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f"{number}.png")
    batches = {}
    for workers in (0, 1):
        folder = ImageFolder(
            str(tmp_path), size=8, crop_scale=0.5, batch_size=4, arch_fraction=0.0, num_workers=workers
        )
        folder.setup("fit")
        loader = folder.train_dataloader()
        if workers:
            loader._workers.multiprocessing_context = "spawn"
        batches[workers] = list(loader)
        CombinedLoader(loader, "sequential").reset()
    assert len(batches[0]) == len(batches[1]) > 1
    for (images, labels), (others, other_labels) in zip(batches[0], batches[1], strict=True):
        assert torch.equal(images, others)
        assert torch.equal(labels, other_labels)


def test_workers_outlive_a_sigterm_to_all_processes():
    data = InMemory(torch.arange(40, dtype=torch.uint8).view(40, 1, 1, 1), torch.arange(40))
    loader = BatchLoader(data, BatchSampler(np.arange(40), 4, train=True), num_workers=1)
    iterator = iter(loader)
    first = next(iterator)[1].tolist()
    for worker in loader._iterator._workers:
        os.kill(worker.pid, signal.SIGTERM)
    assert sorted(first + [label for _, labels in iterator for label in labels.tolist()]) == list(range(40))


@pytest.mark.parametrize("workers", [0, 1])
def test_reading_goes_on_at_a_batch_of_any_pass(workers):
    data = InMemory(torch.arange(10, dtype=torch.uint8).view(10, 1, 1, 1), torch.arange(10))

    def make():
        loader = BatchLoader(data, BatchSampler(np.arange(10), 2, train=True, seed=1), num_workers=workers)
        loader.sampler.set_epoch(3)
        return loader

    whole = make()
    states, batches = [], []
    for _ in range(2):  # two passes in one epoch, as of a shorter stream
        for _, labels in whole:
            batches.append(labels.tolist())
            states.append(whole.state_dict())
    for number, state in enumerate(states):
        rest = make()
        rest.load_state_dict(state)
        rest.sampler.set_epoch(3)
        seen = [labels.tolist() for _ in range(2 - number // 5) for _, labels in rest]
        assert seen == batches[number + 1 :], state
    other = make()
    other.load_state_dict(states[2])
    other.sampler.set_epoch(4)
    assert len(list(other)) == 5  # of another epoch, nothing is left out
    larger = BatchLoader(data, BatchSampler(np.arange(10), 3, train=True, seed=1))
    with pytest.raises(ConfigError, match="within an epoch, with 2 images a batch, but now there are 3"):
        larger.load_state_dict(states[2])
