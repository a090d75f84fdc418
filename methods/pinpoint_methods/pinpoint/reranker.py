"""The rerankers: one score for each candidate of a list, or one for each radius.

`Reranker` reads a few tokens of each candidate; candidates see one another only in `context_layers`.
`FeatureReranker` is the control: a small network over hand-made features.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from pinpoint_harness.types import RADII_KM

from ..common.candidates import CandidateBatch, between_km
from ..common.linear import AlignedLinear
from ..common.reranking import FeatureStandardizer
from .config import PinpointConfig
from .retriever import SourceRetriever
from .selection import retrieval_sum

FACTS = 6
"""Numbers known of a candidate beside its embeddings: three similarities and three of its support."""


_MOST_LISTS = 65_535
"""Of one call of attention: as many blocks as CUDA starts along a dimension of a grid."""


def attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, most: int = _MOST_LISTS) -> Tensor:
    """Scaled dot-product attention `(b, heads, t, width)`, in pieces of at most so many lists."""
    if len(q) <= most:
        return functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    pieces = [slice(start, start + most) for start in range(0, len(q), most)]
    return torch.cat([attention(q[p], k[p], v[p], None if mask is None else mask[p], most) for p in pieces])


class Layer(nn.Module):
    """Self-attention and an MLP, each after a LayerNorm and added to what was there."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x: Tensor, mask: Tensor | None = None, first: int | None = None) -> Tensor:
        """`(b, t, width)`, or the `first` tokens alone; `mask` `(b, heads, t, t)` is added to the logits."""
        b, t, width = x.shape
        normed = self.norm(x)
        asking, x = normed[:, :first].contiguous(), x[:, :first]
        q = self.query(asking).view(b, -1, self.heads, width // self.heads).transpose(1, 2)  # (b, h, t, w/h)
        k, v = self.key_value(normed).view(b, t, 2, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        seen = attention(q, k, v, mask)
        x = x + self.out(seen.transpose(1, 2).reshape(b, -1, width))
        out: Tensor = x + self.mlp(x)
        return out


class Reranker(nn.Module):
    """A Transformer over [query, visual, GPS, support] of one candidate, its score read from the first."""

    def __init__(self, config: PinpointConfig, embedding: int, features: int) -> None:
        super().__init__()
        self.config, width = config, config.width
        scores = 1 if config.token_scores else 0
        self.scale = embedding**0.5  # a unit vector's entries become about 1
        self.standard = FeatureStandardizer(FACTS)
        self.feature_standard = FeatureStandardizer(features)
        facts = (features + FACTS) * config.list_features
        self.query = nn.Linear(embedding * config.query_embedding + facts, width)
        self.gallery = nn.Embedding(2, width)  # the instance's own, or the other
        if config.visual_token:
            self.visual = nn.Linear(embedding + 2 * scores, width)  # learned and raw similarity
        if config.gps_token:
            self.gps = nn.Linear(embedding + scores, width)
        self.with_support = config.support_token and config.support != "none"
        if self.with_support:
            # One head of attention: key and value projections fold into the query's and the token's.
            self.pool = nn.Linear(embedding, embedding, bias=False)
            self.support = nn.Linear(embedding + 3 * scores, width)
            self.no_support = nn.Parameter(torch.zeros(width))
        self.layers = nn.ModuleList(Layer(width, config.heads) for _ in range(config.layers))
        self.context = nn.ModuleList(Layer(width, config.heads) for _ in range(config.context_layers))
        if config.context_layers:
            self.nearness = AlignedLinear(len(RADII_KM), config.heads, bias=False)
        self.norm = nn.LayerNorm(width)
        count = scores_of_candidate(config)
        self.score = AlignedLinear(width, count)
        nn.init.zeros_(self.score.weight)  # begin with the order of the retrieval
        self.retrieval = nn.Linear(3, count, bias=False) if config.token_scores else None
        self.carried = similarities_carried(config)
        self.start_from_retrieval([1.0] * count)

    def start_from_retrieval(self, temperature: Sequence[float]) -> None:
        """Let the scores begin as the retrieval's, each head's divided by its temperature."""
        if self.retrieval is not None:
            with torch.no_grad():
                similar = [1.0, *self.retrieval_weights()]
                self.retrieval.weight.copy_(torch.tensor([[s / t for s in similar] for t in temperature]))

    def retrieval_weights(self) -> tuple[float, float]:
        """Those of raw and location among `similar`; fitted ones are of similarities in their own units."""
        raw, location = self.config.retrieval_raw, self.config.retrieval_location
        if self.config.retrieval_weights == "given":
            return raw, location
        image, *others = self.standard.deviation[:3].tolist()
        return raw * others[0] / image, location * others[1] / image

    def similar(self, lists: CandidateBatch) -> Tensor:
        """Similarities by channel, `(n, c, 3)`, as the score's first part reads them; 0 in no token's."""
        part: Tensor = (lists.scores - self.standard.mean[:3]) / self.standard.deviation[:3]
        return part if all(self.carried) else part * part.new_tensor(self.carried)

    def forward(self, lists: CandidateBatch, retriever: SourceRetriever) -> Tensor:
        """Scores `(n, c)`, or `(n, c, 5)` by radius; minus infinity where a slot is empty."""
        n, c = lists.valid.shape
        x = self.read(lists, retriever)  # (n * c, t, width)
        for number, layer in enumerate(self.layers):
            x = layer(x, first=1 if number + 1 == len(self.layers) else None)
        x = x.view(n, c, -1)
        if len(self.context):
            mask = self._near(lists)  # (n, heads, c, c)
            for layer in self.context:
                x = layer(x, mask)
        score: Tensor = self.score(self.norm(x))
        if self.retrieval is not None:
            score = score + self.retrieval(self.similar(lists))
        return _masked(score, lists)

    def read(self, lists: CandidateBatch, retriever: SourceRetriever) -> Tensor:
        """The tokens of every candidate, `(n * c, t, width)`."""
        config = self.config
        n, c = lists.valid.shape
        facts = self.standard(torch.cat([lists.scores, lists.support_facts], dim=2))  # (n, c, 6)
        image, raw, location, support = facts.split([1, 1, 1, 3], dim=2)
        read = []
        if config.query_embedding:
            read.append((lists.query * self.scale)[:, None].expand(-1, c, -1))  # (n, c, e)
        if config.list_features:
            read += [self.feature_standard(lists.features), facts]
        made = [self.query(torch.cat(read, dim=2)) + self.gallery(retriever.gallery_of_slot)]
        if config.visual_token:
            made.append(self.visual(self._with(retriever.embeddings("image", lists), image, raw)))
        if config.gps_token:
            made.append(self.gps(self._with(retriever.embeddings("location", lists), location)))
        if self.with_support:
            made.append(self._support(lists, retriever, support))
        return torch.stack(made, dim=2).view(n * c, len(made), -1)

    def _with(self, embedding: Tensor, *facts: Tensor) -> Tensor:
        scaled = embedding * self.scale
        return torch.cat([scaled, *facts], dim=2) if self.config.token_scores else scaled

    def _support(self, lists: CandidateBatch, retriever: SourceRetriever, facts: Tensor) -> Tensor:
        """One token of what stands near each candidate, `(n, c, width)`."""
        valid, close = lists.support >= 0, retriever.support_of(lists)  # (n, c, m), (n, c, m, e)
        logits = torch.einsum("ne,ncme->ncm", self.pool(lists.query * self.scale), close)
        weights = logits.masked_fill(~valid, -torch.inf).softmax(dim=2).nan_to_num(0.0)  # none there: zeros
        pooled = torch.einsum("ncm,ncme->nce", weights, close)
        token: Tensor = self.support(self._with(pooled, facts))
        return torch.where(valid.any(dim=2, keepdim=True), token, self.no_support)

    def _near(self, lists: CandidateBatch) -> Tensor:
        """Attention logits of candidates among themselves: how close they lie, and who is there."""
        km = between_km(lists)  # (n, c, c)
        within = torch.stack([km < radius for radius in RADII_KM], dim=3).float()
        bias: Tensor = self.nearness(within).permute(0, 3, 1, 2)  # (n, heads, c, c)
        # A slot sees itself, so that an empty list has something to attend to.
        seen = lists.valid[:, None] | torch.eye(km.shape[1], dtype=torch.bool, device=km.device)
        return bias.masked_fill(~seen[:, None], -torch.inf)


class FeatureReranker(nn.Module):
    """64-64-1 over the hand-made features, candidate by candidate; 64-64-5 with a score for each radius."""

    def __init__(self, features: int, scores: int = 1) -> None:
        super().__init__()
        self.standard = FeatureStandardizer(features)
        self.layers = nn.Sequential(
            nn.Linear(features, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, scores)
        )

    def forward(self, lists: CandidateBatch, retriever: SourceRetriever) -> Tensor:
        """Scores as those of `Reranker`."""
        return _masked(self.layers(self.standard(lists.features)), lists)


def similarities_carried(config: PinpointConfig) -> tuple[bool, ...]:
    """Of image, raw and location similarity, which stand in some token of a candidate.

    The score's first part reads these alone: what the ablation of a token takes away must not come back by
    another way. With `list_features` the query token carries all.
    """
    image, location = (given or config.list_features for given in (config.visual_token, config.gps_token))
    return image, image, location


def scores_of_candidate(config: PinpointConfig) -> int:
    """Scores of a candidate: one, or with the loss `radii` one for each radius."""
    return len(RADII_KM) if config.ranking_loss == "radii" else 1


def _masked(score: Tensor, lists: CandidateBatch) -> Tensor:
    """`(n, c, heads)` as `(n, c)` where there is one head; minus infinity where a slot is empty."""
    score = score.masked_fill(~lists.valid[..., None], -torch.inf)
    return score.squeeze(2) if score.shape[2] == 1 else score


def build_reranker(config: PinpointConfig, embedding: int, features: int) -> Reranker | FeatureReranker:
    """The reranker that the configuration names, not yet trained."""
    if config.reranker == "features":
        return FeatureReranker(features, scores_of_candidate(config))
    return Reranker(config, embedding, features)


def retrieval_scores(lists: CandidateBatch, config: PinpointConfig) -> Tensor:
    """What the searches alone say of each candidate, `(n, c)`: a weighted sum of its similarities."""
    return retrieval_sum(lists.scores, config).masked_fill(~lists.valid, -torch.inf)
