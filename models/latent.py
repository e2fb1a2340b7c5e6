"""Old photographs restored by translation between latent spaces.

Wan, Zhang, Chen et al. 2020, Bringing Old Photos Back to Life (arXiv 2004.09484; longer form 2009.07047). Real old
photographs and synthetic ones share one latent space, in which a mapping to the clean ones' is learned from synthetic
pairs. What differs from the paper, and why: docs/papers.md.
"""

from collections.abc import Mapping as Names
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor, nn
from torch.nn import functional

from models.adversarial import adam, kept, running_average, update
from models.blocks import Normalization
from models.distance import psnr
from models.judge import Judge
from models.latent_networks import (
    Autoencoder,
    LatentDiscriminator,
    LatentRestorer,
    Mapping,
    divergence,
    found,
    latent_mask,
)
from models.learner import Learner, state_of, take_up
from models.pix2pix import PatchDiscriminator
from models.recipe import Batch, Phase, Prepare, Setting, runs_its_epochs
from models.scratches import Detector, DetectorPhase
from models.task import Task

LEAST = 64  # a smaller side leaves the patch discriminator without a patch


@dataclass(frozen=True)
class LatentParams:
    """The recipe's own numbers; what each means stands in params.yaml."""

    epochs: Annotated[int, Ge(1)]
    scratches_epochs: Annotated[int, Ge(0)]
    autoencoder_epochs: Annotated[int, Ge(0)]
    real: list[str]
    width: Annotated[int, Ge(1)]
    blocks: Annotated[int, Ge(0)]
    normalization: Normalization
    kl: Annotated[float, Ge(0)]
    reconstruction: Annotated[float, Ge(0)]
    adversarial: Annotated[float, Ge(0)]
    latent_l1: Annotated[float, Ge(0)]
    feature_matching: Annotated[float, Ge(0)]
    l1: Annotated[float, Ge(0)]
    learning_rate: Annotated[float, Gt(0)]
    beta1: Annotated[float, Ge(0), Lt(1)]
    average: Annotated[float, Ge(0), Lt(1)]

    def __post_init__(self) -> None:
        if self.feature_matching and not self.adversarial:
            raise ValueError(
                f"feature_matching is {self.feature_matching}; it must be 0 where adversarial is 0: it compares"
                " the discriminator's features"
            )


class Networks:
    """All that learns, with its optimisers."""

    def __init__(self, params: LatentParams, real: bool) -> None:
        p = params
        self.params = params
        self.detector = Learner(Detector(p.width), average=0.0)
        self.old = Autoencoder(p.width)
        self.clean = Autoencoder(p.width)
        # From one start the two latent spaces stay near each other, and the mapping has less to bridge.
        self.clean.load_state_dict(self.old.state_dict())
        self.mapping = Mapping(p.width, p.normalization, p.blocks)
        self.averaged = running_average(self.mapping, p.average) if p.average else None
        self.judges: dict[str, Judge] = {}
        if p.adversarial:
            pictures = ("old", "clean", "restored")
            self.judges |= {name: Judge(PatchDiscriminator(3, p.width, p.normalization)) for name in pictures}
        if real:
            self.judges["latent"] = Judge(LatentDiscriminator(p.width, p.normalization))

    def prepare(self, prepare: Prepare) -> None:
        """Puts all but the detector, which has a phase of its own, where they will learn."""
        p = self.params
        learners = {"old": self.old, "clean": self.clean, "mapping": self.mapping}
        self.shared = {name: prepare(network) for name, network in learners.items()}
        self.optimizers = {name: adam(network, p.learning_rate, p.beta1) for name, network in learners.items()}
        for judge in self.judges.values():
            judge.prepare(prepare, p.learning_rate, p.beta1)
        if self.averaged is not None:
            self.averaged.to(next(self.mapping.parameters()).device)

    def restorer(self) -> LatentRestorer:
        """What is kept of them."""
        mapping = kept(self.mapping, self.averaged)
        return LatentRestorer(self.detector.network, self.old.encoder, mapping, self.clean.decoder)

    def parts(self) -> dict[str, Any]:
        """Everything that a resume needs, by name."""
        parts: dict[str, Any] = {"detector": self.detector.network, "old": self.old, "clean": self.clean}
        parts["mapping"] = self.mapping
        parts |= {f"{name}_optimizer": optimizer for name, optimizer in self.optimizers.items()}
        for name, judge in self.judges.items():
            parts |= {f"judge_{name}": judge.network, f"judge_{name}_optimizer": judge.optimizer}
        return parts if self.averaged is None else parts | {"average": self.averaged}


class AutoencoderPhase:
    """Both autoencoders learn: one all old photographs, real and synthetic, the other the clean ones.

    Section 3.1, equations 2 to 4. Losses are named after the autoencoder, `old_l1` and so on.
    """

    name = "autoencoders"

    def __init__(self, networks: Networks, epochs: int) -> None:
        self.networks = networks
        self.epochs = epochs

    def step(self, batch: Batch) -> dict[str, Tensor]:
        """One update of each, and of each one's discriminators before it."""
        old = self._old(batch) * 2 - 1
        losses = self._update("old", self.networks.old, old, len(batch.damaged))
        return losses | self._update("clean", self.networks.clean, batch.clean * 2 - 1, len(batch.clean))

    def _old(self, batch: Batch) -> Tensor:
        if "latent" not in self.networks.judges:
            return batch.damaged
        if batch.real is None:
            raise ValueError("batch.real is None; it must be old photographs where setting.real is True")
        return torch.cat((batch.damaged, batch.real))

    def _update(self, name: str, autoencoder: Autoencoder, pictures: Tensor, synthetic: int) -> dict[str, Tensor]:
        """The pictures are in [-1, 1]; the first `synthetic` of them are so, the others are real old photographs."""
        p = self.networks.params
        autoencoder.train().requires_grad_(True)
        rebuilt, mean, log_variance = self.networks.shared[name](pictures)
        losses = {"l1": functional.l1_loss(rebuilt, pictures), "kl": divergence(mean, log_variance)}
        loss = p.reconstruction * losses["l1"] + p.kl * losses["kl"]
        if name in self.networks.judges:
            judge = self.networks.judges[name]
            losses["discriminator"] = judge.learn(pictures, rebuilt)
            losses["fooling"] = judge.fooling(rebuilt)
            loss = loss + p.adversarial * losses["fooling"]
        if synthetic < len(pictures):
            judge = self.networks.judges["latent"]
            losses["latent_discriminator"] = judge.learn(mean[synthetic:], mean[:synthetic])
            losses["confusion"] = judge.confusion(mean[synthetic:], mean[:synthetic])
            loss = loss + losses["confusion"]
        update(self.networks.optimizers[name], loss)
        return {f"{name}_{key}": value.detach() for key, value in losses.items()}

    @torch.no_grad()
    def validate(self, batch: Batch) -> dict[str, Tensor]:
        """How near rebuilt ones are: `l1` in [-1, 1] units and `psnr` in dB of the clean, `old_l1` of the damaged."""
        clean, *_ = self.networks.clean.eval()(batch.clean * 2 - 1)
        old, *_ = self.networks.old.eval()(batch.damaged * 2 - 1)
        return {
            "l1": functional.l1_loss(clean, batch.clean * 2 - 1),
            "psnr": psnr((clean + 1) / 2, batch.clean).mean(),
            "old_l1": functional.l1_loss(old, batch.damaged * 2 - 1),
        }

    finished = staticmethod(runs_its_epochs)


class MappingPhase:
    """The mapping learns from synthetic pairs; autoencoders and detector are frozen. Section 3.1, equation 5."""

    name = "mapping"

    def __init__(self, networks: Networks, epochs: int) -> None:
        self.networks = networks
        self.epochs = epochs

    def step(self, batch: Batch) -> dict[str, Tensor]:
        """One update of the discriminator of restored photographs, then one of the mapping."""
        n, p = self.networks, self.networks.params
        latent, mask, truth = self._given(batch)
        n.mapping.train()
        mapped = n.shared["mapping"](latent, mask)
        restored = n.clean.eval().requires_grad_(False).decoder(mapped)
        clean = batch.clean * 2 - 1
        losses = {"latent": functional.l1_loss(mapped, truth), "l1": functional.l1_loss(restored, clean)}
        loss = p.latent_l1 * losses["latent"] + p.l1 * losses["l1"]
        if "restored" in n.judges:
            judge = n.judges["restored"]
            losses["discriminator"] = judge.learn(clean, restored)
            losses["fooling"] = judge.fooling(restored)
            losses["matching"] = judge.matching(restored, clean)
            loss = loss + p.adversarial * losses["fooling"] + p.feature_matching * losses["matching"]
        update(n.optimizers["mapping"], loss)
        if n.averaged is not None:
            n.averaged.update_parameters(n.mapping)
        return {name: value.detach() for name, value in losses.items()}

    @torch.no_grad()
    def _given(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Latent (B, width, H / 4, W / 4) of the damaged photographs, its mask, and the clean ones' latent.

        The mapping meets masks as it will when it serves: given by a person in half of the photographs, whose
        destroyed pixels are then white, and found by the detector in the others.
        """
        n = self.networks
        given = torch.rand(len(batch.mask), 1, 1, 1, device=batch.mask.device) < 0.5
        mask = torch.where(given, batch.mask, found(n.detector.network, batch.damaged))
        rgb = torch.where(given & (batch.mask > 0), 1.0, batch.damaged)
        latent, _ = n.old.eval().encoder(rgb * 2 - 1)
        truth, _ = n.clean.eval().encoder(batch.clean * 2 - 1)
        return latent, latent_mask(mask), truth

    @torch.no_grad()
    def validate(self, batch: Batch) -> dict[str, Tensor]:
        """What the kept networks make of photographs without a mask: `l1` in [-1, 1] units and `psnr` in dB."""
        restored = self.networks.restorer().eval()(batch.damaged)
        return {
            "l1": functional.l1_loss(restored * 2, batch.clean * 2),
            "psnr": psnr(restored, batch.clean).mean(),
        }

    finished = staticmethod(runs_its_epochs)


class Latent:
    """The scratch detector, the two autoencoders, and the mapping between their latents."""

    task = Task.RESTORE

    def __init__(self, params: LatentParams, setting: Setting) -> None:
        if setting.size % LatentRestorer.multiple or setting.size < LEAST:
            multiple = LatentRestorer.multiple
            raise ValueError(f"size is {setting.size}; it must be a multiple of {multiple}, at least {LEAST}")
        self.params = params
        self.networks = Networks(params, setting.real)

    def phases(self, prepare: Prepare) -> Sequence[Phase]:
        """`scratches`, `autoencoders`, `mapping`."""
        p = self.params
        self.networks.prepare(prepare)
        self.scratches = DetectorPhase(self.networks.detector, p.scratches_epochs, prepare, p.learning_rate)
        return (
            self.scratches,
            AutoencoderPhase(self.networks, p.autoencoder_epochs),
            MappingPhase(self.networks, p.epochs),
        )

    def predictor(self) -> nn.Module:
        """The restorer."""
        return self.networks.restorer()

    def network_config(self) -> dict[str, Any]:
        """Keywords of `latent_networks.network` that build this recipe's predictor."""
        p = self.params
        return {"width": p.width, "normalization": p.normalization, "blocks": p.blocks}

    def state_dict(self) -> dict[str, Any]:
        """Networks, optimisers and the average."""
        return state_of(self._parts())

    def load_state_dict(self, state: Names[str, Any]) -> None:
        """Continues from `state_dict`'s answer."""
        take_up(self._parts(), state)

    def _parts(self) -> dict[str, Any]:
        return self.networks.parts() | {"detector_optimizer": self.scratches.optimizer}
