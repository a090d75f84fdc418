"""The methods and backbones that come with the project, by name.

Importing this imports none of them: a class is loaded when it is used.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pinpoint_harness.plugins import hookimpl
from pinpoint_harness.types import BackboneInfo, MethodInfo

from .pinpoint.variants import RERANKED, TOP1

if TYPE_CHECKING:
    from pinpoint_harness.plugins import Register

_ON_FEATURES: dict[str, Any] = {
    "licence": "Apache-2.0",
    "training_data": "the backbone's",
    "gallery": "chosen by `gallery`",
    "needs": ("the backbone's weights, or a feature store",),
}

_TRAINED_ON_FEATURES: dict[str, Any] = {
    "licence": "Apache-2.0",
    "training_data": "chosen by `train`, and the backbone's",
    "needs": ("stages: pinpoint train",),
}


def _pinpoint(words: str) -> MethodInfo:
    return MethodInfo(
        title=f"Pinpoint: {words}",
        paper="arXiv:2606.04133 (re-implemented)",
        licence="Apache-2.0",
        training_data="by `config`: mini-Earth, or MP16-Pro and OSV-5M",
        gallery="split A of the training data",
        author_filter="by `author_filter`",
        needs=("stages: pinpoint train",),
    )


METHODS = {
    "constant": (
        "pinpoint_methods.simple:Constant",
        MethodInfo(title="The same coordinate for every photo", licence="Apache-2.0"),
    ),
    "random-prior": (
        "pinpoint_methods.simple:RandomPrior",
        MethodInfo(
            title="A random place, on the sphere or from a table of coordinates",
            licence="Apache-2.0",
            training_data="the coordinates of `table`, if one is given",
            draws=True,
        ),
    ),
    "stored-predictions": (
        "pinpoint_methods.stored.predictions:StoredPredictions",
        MethodInfo(
            title="Answers read from a file made elsewhere",
            # Only whoever made the file knows.
            training_data="?",
            gallery="?",
            author_filter="?",
            mllm="?",
            web="?",
        ),
    ),
    "nearest-photo": (
        "pinpoint_methods.retrieval.knn:NearestPhoto",
        MethodInfo(title="The most similar gallery photo, by raw features", **_ON_FEATURES),
    ),
    "knn-vote": (
        "pinpoint_methods.retrieval.knn:KNNVote",
        MethodInfo(title="A vote of the k most similar gallery photos, by raw features", **_ON_FEATURES),
    ),
    "lknn": (
        "pinpoint_methods.retrieval.lknn:LKNN",
        MethodInfo(
            title="[L]kNN: the density of the 100 most similar gallery photos, by raw features",
            paper="Vo, Jacobs, Hays: Revisiting IM2GPS in the Deep Learning Era. ICCV 2017. arXiv:1705.04838",
            **_ON_FEATURES,
        ),
    ),
    "geoclip": (
        "pinpoint_methods.geoclip.method:GeoCLIP",
        MethodInfo(
            title="GeoCLIP: the gallery coordinate whose location vector is most similar to the photo's",
            paper="Vivanco Cepeda, Nayak, Shah: GeoCLIP. NeurIPS 2023. arXiv:2309.16020",
            licence="MIT",
            training_data="MP-16, 4.72 million photos; CLIP's 400 million image-text pairs, not public",
            gallery="100K MP-16 coordinates, in the package",
            needs=(
                "the package: pip install --no-deps geoclip==1.3.0, or a folder by --set towers=",
                "CLIP ViT-L/14: openai/clip-vit-large-patch14 from the hub, or a folder by --set backbone=",
            ),
        ),
    ),
    "fused-retrieval": (
        "pinpoint_methods.retrieval.fused:FusedRetrieval",
        MethodInfo(
            title="The nearest gallery photos of several backbones, fused, and the consensus of the best",
            paper="after Chipoint 2's retrieval (huggingface.co/chiikabu-labs/chipoint-2), on raw features",
            author_filter="by `author_filter`",
            **{**_ON_FEATURES, "needs": ("the weights of all `backbones`, or feature stores",)},
        ),
    ),
    "chipoint-retrieval": (
        "pinpoint_methods.chipoint.method:ChipointRetrieval",
        MethodInfo(
            title="Chipoint 2's retrieval through three projected towers, without its reranker",
            paper="huggingface.co/chiikabu-labs/chipoint-2 (its reranker's features are not public)",
            licence="MIT, DINOv3 License (a tower)",
            training_data="OSV-5M; the towers': WebLI, LVD-1689M",
            gallery="4.89 million street-view pictures of OSV-5M, published; or by `gallery`",
            author_filter="by `author_filter`, over a gallery of photos",
            needs=(
                "heads and gallery of chiikabu-labs/chipoint-2, or a folder by --set weights=",
                "features of SigLIP 2 so400m and giant at 256 pixels and of DINOv3 ViT-L/16 (gated)",
            ),
        ),
    ),
    "consensus": (
        "pinpoint_methods.stored.consensus:Consensus",
        MethodInfo(
            title="One answer made of the candidates that a run stored",
            licence="Apache-2.0",
            # Those of the run that made the candidates.
            training_data="?",
            gallery="?",
            author_filter="?",
            mllm="?",
            web="?",
        ),
    ),
    "g3-retrieval": (
        "pinpoint_methods.g3.method:G3Retrieval",
        MethodInfo(
            title="G3's retrieval: the place of a table whose location vector is most similar to the photo's",
            paper="Jia et al.: G3. NeurIPS 2024. arXiv:2405.14702 (without its language model)",
            licence="Apache-2.0",
            training_data="MP16-Pro, 4.12 million photos with place names; CLIP's, not public",
            gallery="the places of `gallery`",
            needs=(
                "the tensors of Jia-py/G3-checkpoint's g3.pth, by --set weights=",
                "CLIP ViT-L/14's features, or a feature store",
            ),
        ),
    ),
    "osv5m-baseline": (
        "pinpoint_methods.osv5m_baseline.method:OSV5MBaseline",
        MethodInfo(
            title="OSV-5M's baseline: a cell of a quadtree, and where in it, by a fine-tuned CLIP",
            paper="Astruc et al.: OpenStreetView-5M: The Many Roads to Global Visual Geolocation. CVPR 2024. "
            "arXiv:2404.18873",
            licence="MIT",
            training_data="OSV-5M, 4.89 million street-view pictures; DataComp, before that",
            needs=("the weights osv5m/baseline, or a folder by --set weights=",),
        ),
    ),
    "plonk": (
        "pinpoint_methods.plonk.method:Plonk",
        MethodInfo(
            title="PLONK: a place that flows from noise to where the photo says, on the sphere",
            paper="Dufour et al.: Around the World in 80 Timesteps: A Generative Approach to Global Visual "
            "Geolocation. CVPR 2025. arXiv:2412.06781",
            licence="MIT",
            training_data="by `model`: YFCC100M, OSV-5M or iNaturalist; the backbone's",
            needs=(
                "the weights nicolas-dufour/PLONK_YFCC, PLONK_OSV_5M or PLONK_iNaturalist, or a folder by "
                "--set weights=",
                "the backbone's weights, or a feature store",
            ),
        ),
    ),
    "cells": (
        "pinpoint_methods.cells.method:Cells",
        MethodInfo(
            title="Classification over adaptive cells, on features; prototypes within them by `refine`",
            paper="after ISNs (ECCV 2018) and PIGEON (arXiv:2307.05845)",
            gallery="prototypes of `train`, if `refine` asks for them",
            **_TRAINED_ON_FEATURES,
        ),
    ),
    "regression": (
        "pinpoint_methods.regression:Regression",
        MethodInfo(title="A place on the sphere straight from features", **_TRAINED_ON_FEATURES),
    ),
    "superglobal": (
        "pinpoint_methods.retrieval.superglobal:SuperGlobal",
        MethodInfo(
            title="SuperGlobal: the nearest gallery photos ranked anew after query and photos were expanded",
            paper="Shao et al.: Global Features are All You Need for Image Retrieval and Reranking. "
            "ICCV 2023. arXiv:2308.06954",
            **_ON_FEATURES,
        ),
    ),
    "feature-reranker": (
        "pinpoint_methods.feature_reranker.method:FeatureReranker",
        MethodInfo(
            title="The nearest photos of each gallery, reranked by a small network over hand-made features",
            paper="after the control of Pinpoint (arXiv:2606.04133), on raw features",
            gallery="chosen by `gallery`",
            author_filter="by `author_filter`",
            **_TRAINED_ON_FEATURES,
        ),
    ),
    "streetclip": (
        "pinpoint_methods.streetclip.method:StreetCLIP",
        MethodInfo(
            title="StreetCLIP zero-shot: the likeliest country, then one of its cities",
            paper="Haas, Alberti, Skreta: Learning Generalized Zero-Shot Learners for Open-Domain Image "
            "Geolocalization. 2023. arXiv:2302.00275 (prompts and gazetteer not the authors')",
            licence="CC-BY-NC-4.0 (weights), CC-BY-4.0 (GeoNames)",
            training_data="CLIP's, then 1.1 million street-view pictures, not public",
            gallery="cities of `gazetteer`",
            needs=(
                "the weights and tokenizer of geolocal/StreetCLIP@refs/pr/1, or a local folder (--weights)",
                "pinpoint-geo[gazetteer], or a table of cities (gazetteer=FILE)",
            ),
        ),
    ),
    "place-names": (
        "pinpoint_methods.stored.place_names:PlaceNames",
        MethodInfo(
            title="Place names read from a file made elsewhere",
            licence="Apache-2.0, CC-BY-4.0 (GeoNames)",
            # Only whoever made the file knows.
            training_data="?",
            gallery="?",
            author_filter="?",
            mllm="?",
            web="?",
            needs=("pinpoint-geo[gazetteer], or a table of cities (gazetteer=FILE)",),
        ),
    ),
}

_TOWER = "pinpoint_harness.features.backbones.tower:HuggingFaceTower"
_SIGLIP2 = "Tschannen et al.: SigLIP 2. 2025. arXiv:2502.14786"
_WEBLI = "WebLI, image-text pairs"
_CLIP_PAPER = (
    "Radford et al.: Learning Transferable Visual Models From Natural Language Supervision. "
    "2021. arXiv:2103.00020"
)
_CLIP_DATA = "400 million image-text pairs, not public"

BACKBONES = {
    name: (_TOWER, info)
    for name, info in {
        "siglip2-giant-opt-patch16-384": BackboneInfo(
            title="SigLIP 2 giant, 384 pixels: the backbone of Pinpoint",
            width=1536,
            weights="google/siglip2-giant-opt-patch16-384",
            paper=_SIGLIP2,
            licence="Apache-2.0",
            training_data=_WEBLI,
        ),
        "siglip2-base-patch16-224": BackboneInfo(
            title="SigLIP 2 base, 224 pixels",
            width=768,
            weights="google/siglip2-base-patch16-224",
            paper=_SIGLIP2,
            licence="Apache-2.0",
            training_data=_WEBLI,
        ),
        "siglip-so400m-patch14-384": BackboneInfo(
            title="SigLIP so400m, 384 pixels",
            width=1152,
            weights="google/siglip-so400m-patch14-384",
            paper="Zhai et al.: Sigmoid Loss for Language Image Pre-Training. ICCV 2023. arXiv:2303.15343",
            licence="Apache-2.0",
            training_data=_WEBLI,
        ),
        "clip-vit-large-patch14": BackboneInfo(
            title="CLIP ViT-L/14, 224 pixels: the backbone of GeoCLIP",
            width=768,
            weights="openai/clip-vit-large-patch14",
            paper=_CLIP_PAPER,
            licence="?",
            training_data=_CLIP_DATA,
        ),
        "clip-vit-large-patch14-336": BackboneInfo(
            title="CLIP ViT-L/14, 336 pixels",
            width=768,
            weights="openai/clip-vit-large-patch14-336",
            paper=_CLIP_PAPER,
            licence="?",
            training_data=_CLIP_DATA,
        ),
        "streetclip": BackboneInfo(
            title="StreetCLIP: CLIP ViT-L/14 at 336 pixels, pretrained on places",
            width=768,
            # The main branch has pickled weights only; these are the hub's own conversion of them.
            weights="geolocal/StreetCLIP@refs/pr/1",
            paper="Haas, Alberti, Skreta: Learning Generalized Zero-Shot Learners for Open-Domain Image "
            "Geolocalization. 2023. arXiv:2302.00275",
            licence="CC-BY-NC-4.0",
            training_data="CLIP's, then 1.1 million street-view pictures, not public",
        ),
        "dinov2-large": BackboneInfo(
            title="DINOv2 ViT-L/14, 224 pixels",
            width=1024,
            weights="facebook/dinov2-large",
            paper="Oquab et al.: DINOv2. 2023. arXiv:2304.07193",
            licence="Apache-2.0",
            training_data="LVD-142M, pictures alone, not public",
        ),
        "dinov3-vitl16": BackboneInfo(
            title="DINOv3 ViT-L/16, 224 pixels (gated)",
            width=1024,
            weights="facebook/dinov3-vitl16-pretrain-lvd1689m",
            paper="Siméoni et al.: DINOv3. 2025. arXiv:2508.10104",
            licence="DINOv3 License",
            training_data="LVD-1689M, pictures alone, not public",
        ),
    }.items()
}

_VARIANTS = "pinpoint_methods.backbones:"
_STREETCLIP_INFO, _DINOV3_INFO = (BACKBONES[name][1] for name in ("streetclip", "dinov3-vitl16"))

BACKBONES |= {
    "dinov2-large-reg-square": (
        f"{_VARIANTS}SquareDINOv2",
        BackboneInfo(
            title="DINOv2 ViT-L/14 with registers, the middle square at 336 pixels: what PLONK looks through",
            width=1024,
            weights="facebook/dinov2-with-registers-large",
            paper="Darcet et al.: Vision Transformers Need Registers. ICLR 2024. arXiv:2309.16588",
            licence="Apache-2.0",
            training_data="LVD-142M, pictures alone, not public",
        ),
    ),
    "streetclip-cls": (
        f"{_VARIANTS}CLIPClassToken",
        replace(
            _STREETCLIP_INFO,
            title="StreetCLIP's class token before its projection: what PLONK on OSV-5M looks through",
            width=1024,
        ),
    ),
    "siglip2-so400m-256-openclip": (
        f"{_VARIANTS}BicubicSigLIP",
        BackboneInfo(
            title="SigLIP 2 so400m, 256 pixels, resized as by OpenCLIP: a tower of Chipoint 2",
            width=1152,
            weights="google/siglip2-so400m-patch16-256",
            paper=_SIGLIP2,
            licence="Apache-2.0",
            training_data=_WEBLI,
        ),
    ),
    "siglip2-giant-opt-256-openclip": (
        f"{_VARIANTS}BicubicSigLIP",
        BackboneInfo(
            title="SigLIP 2 giant, 256 pixels, resized as by OpenCLIP: a tower of Chipoint 2",
            width=1536,
            weights="google/siglip2-giant-opt-patch16-256",
            paper=_SIGLIP2,
            licence="Apache-2.0",
            training_data=_WEBLI,
        ),
    ),
    "dinov3-vitl16-cropped": (
        f"{_VARIANTS}CroppedDINOv3",
        replace(_DINOV3_INFO, title="DINOv3 ViT-L/16, cropped to 224 pixels (gated): a tower of Chipoint 2"),
    ),
}


@hookimpl
def pinpoint_register(register: Register) -> None:
    for name, (target, info) in METHODS.items():
        register.method(name, target, info)
    for kind, variants in (("PinpointTop1", TOP1), ("Pinpoint", RERANKED)):
        for name, (words, preset) in variants.items():
            register.method(name, f"pinpoint_methods.pinpoint.method:{kind}", _pinpoint(words), preset=preset)
    for name, (target, backbone) in BACKBONES.items():
        register.backbone(name, target, backbone)
