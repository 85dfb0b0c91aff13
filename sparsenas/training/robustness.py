"""Accuracy of a trained network under attack."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from sparsenas.errors import ConfigError
from sparsenas.metrics import Accuracy
from sparsenas.training.attacks import Attack, PixelScale

#: Gives the loss of logits and labels.
Criterion = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Attacks:
    """Attacks of a test, all with the same largest change of a pixel.

    Attributes:
        epsilon: Largest change, in levels of 255.
        steps: Steps of each attack: 1 is FGSM from the image itself, 10 is PGD-10 from a random start.

    Raises:
        ConfigError: If a number is out of range, or there is no attack.
    """

    epsilon: float = 8.0
    steps: tuple[int, ...] = (1, 10, 50)

    def __post_init__(self) -> None:
        """Check the numbers."""
        if not self.steps or len(set(self.steps)) < len(self.steps):
            raise ConfigError(
                f"attacks.steps is {list(self.steps)}; list the steps of each attack once, such as [1, 10]"
            )
        _ = self.named

    @property
    def named(self) -> dict[str, Attack]:
        """The attacks, by names such as ``fgsm`` and ``pgd_10``."""
        return {
            f"pgd_{steps}" if steps > 1 else "fgsm": Attack(self.epsilon, steps, random_start=steps > 1)
            for steps in self.steps
        }


class RobustAccuracy(nn.Module):
    """Accuracies under several attacks, gathered batch by batch.

    Args:
        attacks: The attacks.
        seed: Seeds their random starts.
    """

    def __init__(self, attacks: Attacks, seed: int = 0) -> None:
        super().__init__()
        self.attacks, self.seed = attacks, seed
        self.accuracies = nn.ModuleDict({name: Accuracy() for name in attacks.named})

    def update(
        self,
        network: Callable[[Tensor], Tensor],
        images: Tensor,
        labels: Tensor,
        loss: Criterion,
        scale: PixelScale,
        batch: int,
    ) -> None:
        """Attack a batch in every way, and count what the network still gets right.

        Args:
            network: Gives the logits, in evaluation mode: statistics of a batch would let images depend on one another.
            images: Normalised images ``(B, C, H, W)``.
            labels: Their labels.
            loss: Loss of logits and labels that the attacks raise.
            scale: Pixel values of the images.
            batch: Number of the batch, from which the random starts follow.
        """
        with torch.inference_mode(False):  # within it, nothing has a gradient
            images, labels, scale = images.clone(), labels.clone(), scale.to(images)
            generator = torch.Generator(images.device)

            def loss_of(point: Tensor) -> Tensor:
                return loss(network(point), labels)

            for number, (name, attack) in enumerate(self.attacks.named.items()):
                words = np.random.SeedSequence((self.seed, batch, number)).generate_state(1)
                start = attack.start(images, scale, generator.manual_seed(int(words[0])))
                change = attack.change(images, loss_of, scale, start)
                with torch.no_grad():
                    self._accuracy(name).update(network(images + change), labels)

    def items(self) -> Iterator[tuple[str, Accuracy]]:
        """Iterate over the accuracies, by names such as ``acc_fgsm``."""
        for name in self.accuracies:
            yield f"acc_{name}", self._accuracy(name)

    def _accuracy(self, name: str) -> Accuracy:
        accuracy = self.accuracies[name]
        assert isinstance(accuracy, Accuracy)  # which the type of the container does not tell
        return accuracy


def accuracies_under_attack(
    network: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    attacks: Attacks,
    loss: Criterion,
    scale: PixelScale,
    seed: int = 0,
) -> dict[str, float]:
    """Compute the share of images that are right under each attack, in evaluation mode; the mode is as before.

    Args:
        network: Gives the logits.
        batches: Normalised images and their labels.
        attacks: The attacks.
        loss: Loss that they raise.
        scale: Pixel values of the images.
        seed: Seeds their random starts.

    Returns:
        Accuracies in [0, 1] by names such as ``fgsm``.
    """
    robust, training = RobustAccuracy(attacks, seed), network.training
    network.eval()
    for number, (images, labels) in enumerate(batches):
        robust.update(network, images, labels, loss, scale, number)
    network.train(training)
    return {name.removeprefix("acc_"): float(accuracy.compute()) for name, accuracy in robust.items()}
