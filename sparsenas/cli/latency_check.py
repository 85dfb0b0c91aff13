"""After a search with a budget of milliseconds: the latency that was predicted, beside the one measured here."""

from pathlib import Path

import torch

from sparsenas.errors import SparseNASError
from sparsenas.latency import read_latency, read_layer_times, time_network, where
from sparsenas.search import Searcher, SearchModule, TournamentSearch


def latency_text(searcher: Searcher) -> str | None:
    """Say what the table of a searcher's budget predicts of the found network, and what it takes here in PyTorch.

    As many images are timed on the CPU, in as many threads, as the table was made with. None without such a budget.
    """
    file = searcher.budget.latency_table
    if file is None or not isinstance(searcher, (SearchModule, TournamentSearch)):
        return None
    try:
        if isinstance(searcher, SearchModule):
            table = read_latency(file, searcher.space)
            predicted, about = table.latency(searcher.support), table.about
            network, shape = searcher.network.untrained(searcher.genotype), searcher.network.size["image_shape"]
        else:
            network, shape = searcher.deployable(), searcher.image_shape
            times, size = read_layer_times(file), network.size
            predicted = times.latency(network.genotype, shape, size["num_classes"], size["channels"])
            about = times.about
    except SparseNASError as error:  # such as a table that is gone
        return f"not compared with the table: {error}"
    own, timed = "x".join(map(str, shape)), about.get("images", "")
    other = "" if timed in ("", own) else f", its layers timed on images of {timed} instead of {own}"
    threads = about.get("threads", "1")
    batch = about.get("batch", "1")
    images = torch.zeros(int(batch) if batch.isdecimal() else 1, *shape).to(memory_format=torch.channels_last)
    network = network.cpu().eval().to(memory_format=torch.channels_last)
    measured = time_network(network, images, threads=int(threads) if threads.isdecimal() else 1)
    return (
        f"{predicted:.3g} ms predicted by {Path(file).name}, made on {where(about)}{other}; "
        f"{measured:.3g} ms measured here in torch, cpu, threads {threads}"
        + ("" if len(images) == 1 else f", {len(images)} images at a time")
    )
