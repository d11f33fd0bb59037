"""Online accumulation of class activation maps over training (OAA), as NSROM uses it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, distributed
from typing_extensions import Self

from ._accumulation_state import check_state, read_state, write_state
from ._checks import (
    Sizes,
    check_bool,
    check_integer,
    check_keys,
    check_number,
    check_size,
    check_tensor,
    check_text,
    described,
)
from ._frames import Frames, valid_boxes
from ._storable_maps import storable_maps
from ._synchronize import broadcast_each, gather, is_alone
from ._values import (
    finite,
    multi_hot,
    to_list,
    unit_interval,
    verify,
)

if TYPE_CHECKING:
    from ._map_store import MapStore

_STORAGE = (torch.uint8, torch.float16, torch.float32)


class OACAMAccumulator:
    r"""Running maximum of each image's class activation maps over training.

    For each image and each class c that it has, with :math:`A = \mathrm{relu}(a^c) / \max a^c` and
    :math:`p_{\min}` the ``min_probability``:

    .. math:: M \leftarrow \max(M, A) \quad \text{if } \sigma(x_c) \ge p_{\min}

    Maps are kept on the CPU under the image's key. Rounding to 8 bits (the default storage) has a
    largest error of 0.5 / 255 that does not compound, since the maximum of rounded maps is the
    rounded maximum.

    Source: Jiang et al., ICCV 2019 (OAA); Yao et al., CVPR 2021. Call :meth:`update`
    from the second epoch on, and with ``force_missing=True`` in the last one.

    Args:
        num_classes: Number C of foreground classes.
        map_size: (height, width) of the stored maps: maps of other sizes are resized bilinearly.
            None: the size of the first maps; another size is then an error.
        min_probability: Maps of classes with a lower probability are skipped.
        dtype: Storage, ``torch.uint8``, ``torch.float16`` or ``torch.float32``.
        run_id: Name of the training run that the maps are of. It is saved with them, and maps of
            another run are refused, so that stale ones never mix in.

    Raises:
        TypeError: An argument has a wrong type.
        ValueError: An argument is out of range; ``dtype`` is not one of the three.

    Example:
        >>> accumulator = OACAMAccumulator(2)
        >>> present, logits = torch.tensor([[1, 0]]), torch.tensor([[3.0, 0.0]])
        >>> for peak in (2.0, 8.0):
        ...     cams = torch.tensor([[[[peak, 4.0]], [[1.0, 1.0]]]])
        ...     accumulator.update(["2007_000032"], cams, present, logits)
        >>> accumulator.compute(["2007_000032"])
        tensor([[[[1., 1.]],
        <BLANKLINE>
                 [[0., 0.]]]])
    """

    def __init__(
        self,
        num_classes: int,
        *,
        map_size: Sequence[int] | None = None,
        min_probability: float = 0.1,
        dtype: torch.dtype = torch.uint8,
        run_id: str = "",
    ) -> None:
        check_integer("num_classes", num_classes, minimum=1)
        check_number("min_probability", min_probability)
        if not isinstance(dtype, torch.dtype):
            raise TypeError(f"dtype: expected a torch.dtype, got {described(dtype)}")
        if dtype not in _STORAGE:
            raise ValueError(f"dtype: expected one of {_STORAGE}, got {dtype!r}")
        check_text("run_id", run_id)
        self.num_classes = int(num_classes)
        self.min_probability = float(min_probability)
        self.dtype = dtype
        self.run_id = run_id
        self._resized_to = None if map_size is None else check_size("map_size", map_size)
        self._store = _new_store(self._resized_to, dtype)

    @property
    def map_size(self) -> tuple[int, int] | None:
        """(height, width) of the stored maps; None before the first is stored."""
        return self._store.size

    def __len__(self) -> int:
        """Number of images seen by :meth:`update`, with or without a stored map."""
        return len(self._store.index.numbers)

    def __contains__(self, key: object) -> bool:
        return key in self._store.index.numbers

    def __iter__(self) -> Iterator[str]:
        """Keys in sorted order, which does not depend on the order of updates."""
        return iter(sorted(self._store.index.numbers))

    def __repr__(self) -> str:
        return (
            f"OACAMAccumulator({self.num_classes}, map_size={self.map_size}, "
            f"min_probability={self.min_probability}, dtype={self.dtype})"
            f"[{len(self)} images, {self._store.index.num_maps} maps]"
        )

    @torch.inference_mode(False)
    @torch.no_grad()
    def update(
        self,
        keys: Sequence[str],
        cams: Tensor,
        image_labels: Tensor,
        logits: Tensor,
        *,
        force_missing: bool = False,
        boxes: Tensor | None = None,
        flipped: Tensor | None = None,
    ) -> None:
        r"""Take in the class maps of a batch. An error leaves the accumulator as it was.

        Values are always checked, whatever :func:`value_checks` says: what counts is read to the
        CPU anyway.

        With ``boxes``, a map :math:`A` of h x w is that of a crop. On the grid of ``map_size``, the
        box reaches from column l to r and from row t to b (not rounded to whole cells). Cell (i, j)
        whose centre is inside gets :math:`A` at row :math:`(i + 1/2 - t) h / (b - t) - 1/2` and
        column :math:`(j + 1/2 - l) w / (r - l) - 1/2`, bilinearly, as ``align_corners=False``
        does; every other cell gets 0. A crop that covers whole cells and has a value for each is
        put back bit for bit. A box that has no cell's centre inside gives a map of zeros.

        :math:`A` is scaled by the largest value *of the crop*: where a crop shows hardly anything
        of a class, what little there is becomes 1. Such crops are kept out by their own logit
        (``min_probability``) only, so raise it (0.5, say) when accumulating crops, or take crops
        of a large part of the image.

        Args:
            keys: A string for each image. A key that comes twice accumulates twice.
            cams: (N, C, h, w) raw class maps, floating point, on any device.
            image_labels: (N, C) multi-hot, exactly 0 or 1.
            logits: (N, C) floating point.
            force_missing: Store the map of a present class that has none yet, however low its
                probability (for the last epoch; with whole images, since a crop may not show it).
            boxes: (N, 4) floating point, on any device: the part of the whole image that each
                sample showed, (x_min, y_min, x_max, y_max) in shares of its width and height,
                0 <= min < max <= 1. Edges are rounded to 1 / 1024 of a cell. Needs ``map_size``,
                the grid of the whole image. None: samples show whole images.
            flipped: (N,) bool, on any device: the sample was mirrored left-right, after cropping.
                None: none was.

        Raises:
            TypeError: An argument has a wrong type.
            ValueError: Shapes differ; ``image_labels`` has values other than 0 and 1; the logit of
                a present class, or a map to store, has NaN or infinity; the maps' size is not that
                of the stored ones, without ``map_size``; ``boxes`` without ``map_size``; a box is
                empty or leaves the image.

        Example:
            >>> accumulator = OACAMAccumulator(1, map_size=(1, 4))
            >>> one, right_half = torch.ones(1, 1), torch.tensor([[0.5, 0.0, 1.0, 1.0]])
            >>> cams = torch.tensor([[[[5.0, 1.0]]]])
            >>> mirrored = torch.tensor([True])
            >>> accumulator.update(["a"], cams, one, one, boxes=right_half, flipped=mirrored)
            >>> accumulator.compute(["a"])
            tensor([[[[0.0000, 0.0000, 0.2000, 1.0000]]]])
        """
        keys = check_keys(keys)
        sizes = Sizes(one_device=False, with_values=True)
        check_bool("force_missing", force_missing)
        check_tensor("cams", cams, "N C H W", "float", sizes)
        check_tensor("image_labels", image_labels, "N C", "multi-hot", sizes)
        check_tensor("logits", logits, "N C", "float", sizes)
        self._check_batch(keys, sizes)
        frames = self._frames(keys, boxes, flipped, sizes)

        image_labels, logits = image_labels.cpu(), logits.cpu().to(torch.float32)
        present = image_labels != 0
        logits = torch.where(present, logits, 0)
        verify(multi_hot("image_labels", image_labels), finite("logits", logits))
        likely = present & (logits.sigmoid() >= self.min_probability)
        missing = self.missing(keys, present) if force_missing else torch.zeros_like(likely)
        pairs = _pairs(keys, likely, likely | missing)
        images, classes = (side.numpy() for side in pairs.unbind(1))
        maps = storable_maps(cams, pairs, keys, frames, self._resized_to, self.dtype)
        self._store.maximum(keys, images, classes, maps)

    def compute(self, keys: Sequence[str]) -> Tensor:
        """Accumulated maps of images.

        Args:
            keys: Keys that :meth:`update` has seen.

        Returns:
            (N, C, h, w) float32 in [0, 1] on the CPU; zeros for classes without a map.

        Raises:
            TypeError: ``keys`` is not a sequence of strings.
            KeyError: A key was never seen.
            ValueError: No map was stored yet, and ``map_size`` was not given.
        """
        keys = check_keys(keys)
        unknown = [key for key in keys if key not in self]
        if unknown:
            raise KeyError(f"keys: no update has seen {_named(unknown)}")
        if self.map_size is None:
            raise ValueError("keys: the size of the maps is not known before the first is stored")
        images, classes, rows = self._store.index.maps_of(keys)
        computed = torch.zeros(len(keys), self.num_classes, *self.map_size, dtype=torch.float32)
        if len(rows):
            computed[images, classes] = unit_interval(self._store[rows], torch.float32)
        return computed

    def missing(self, keys: Sequence[str], image_labels: Tensor) -> Tensor:
        """Which present classes have no stored map.

        Args:
            keys: A string for each image; may be keys that were never seen.
            image_labels: (N, C) multi-hot, exactly 0 or 1.

        Returns:
            (N, C) bool on the CPU.

        Raises:
            TypeError: An argument has a wrong type.
            ValueError: Shapes differ; ``image_labels`` has values other than 0 and 1.
        """
        keys = check_keys(keys)
        sizes = Sizes(with_values=True)
        check_tensor("image_labels", image_labels, "N C", "multi-hot", sizes)
        self._check_batch(keys, sizes)
        image_labels = image_labels.cpu()
        verify(multi_hot("image_labels", image_labels))
        missing = image_labels != 0
        images, classes, _ = self._store.index.maps_of(keys)
        missing[images, classes] = False
        return missing

    @torch.inference_mode(False)
    def merge(self, other: OACAMAccumulator) -> None:
        """Take in what another accumulator has: images of both, the maximum of maps in both.

        Commutative, associative and idempotent.

        Args:
            other: An accumulator of the same run, classes, storage and map size.

        Raises:
            TypeError: ``other`` is not an OACAMAccumulator.
            ValueError: Its run, number of classes, dtype or map size differ.
        """
        if not isinstance(other, OACAMAccumulator):
            raise TypeError(f"other: expected an OACAMAccumulator, got {type(other).__name__}")
        self._check_alike("other", other.num_classes, other.dtype, other.map_size, other.run_id)
        keys, images, classes, rows = other._store.index.owners()
        self._store.maximum(keys, images, classes, other._store[rows])
        self._store.size = self.map_size or other.map_size

    def synchronize(self, group: distributed.ProcessGroup | None = None) -> None:
        """Merge over the processes of ``torch.distributed``: afterwards all have the same maps.

        Every process of the group must call it. Without an initialised process group, and in a
        process outside ``group``, there is nothing to merge, and nothing is done. If it fails, the
        accumulator is as it was.

        Args:
            group: The process group; None: all processes.

        Raises:
            ValueError: The accumulators' runs, numbers of classes, dtypes or map sizes differ.
        """
        if is_alone(group):
            return
        merged = self._empty()
        for kind in gather((self.num_classes, self.dtype, self.map_size, self.run_id), group):
            # a difference fails here, in all processes alike
            merged.merge(OACAMAccumulator(kind[0], dtype=kind[1], map_size=kind[2], run_id=kind[3]))
        for state in broadcast_each(self.state_dict(), group):
            received = self._empty()
            received.load_state_dict(state)
            merged.merge(received)
        self.load_state_dict(merged.state_dict())

    def state_dict(self) -> dict[str, Any]:
        """All that was accumulated, in an order that does not depend on the order of updates.

        Returns:
            ``run_id``; ``num_classes``; ``map_size``, (height, width) or None; ``keys``, a sorted
            list; ``num_maps`` (int64), how many maps each key has; ``classes`` (int64) of the maps,
            in the order of the keys; ``maps`` (number of maps, height, width).
        """
        keys, images, classes, rows = self._store.index.owners()
        return {
            "run_id": self.run_id,
            "num_classes": self.num_classes,
            "map_size": self.map_size,
            "keys": keys,
            "num_maps": torch.as_tensor(images).bincount(minlength=len(keys)),
            "classes": torch.as_tensor(classes),
            "maps": self._store[rows],
        }

    @torch.inference_mode(False)
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Replace the contents by those of a :meth:`state_dict`. An error leaves all as it was.

        Args:
            state: A state of an accumulator of the same run, classes, storage and map size.

        Raises:
            ValueError: It is no such state, or its run, number of classes, dtype or map size
                differ.
        """
        check_state(state)
        self._check_alike(
            "state",
            state["num_classes"],
            state["maps"].dtype,
            state["map_size"],
            state["run_id"],
        )
        store = _new_store(self.map_size or state["map_size"], self.dtype)
        keys: list[str] = state["keys"]
        images = torch.arange(len(keys)).repeat_interleave(state["num_maps"].cpu()).numpy()
        store.maximum(keys, images, state["classes"].cpu().numpy(), state["maps"].cpu())
        self._store = store

    def save(self, path: str | PathLike[str]) -> None:
        """Write everything to a file: an ``npz`` of plain arrays, without pickles.

        The file is replaced atomically: a process that is killed meanwhile leaves the old one.

        Args:
            path: Where to write.

        Raises:
            OSError: The file cannot be written.
        """
        write_state(path, self.state_dict())

    def load(self, path: str | PathLike[str]) -> Self:
        """Replace the contents by those of a file that :meth:`save` wrote.

        Args:
            path: The file.

        Returns:
            The accumulator itself.

        Raises:
            OSError: The file cannot be read.
            ValueError: It is not a whole file of :meth:`save`, or its run, number of classes, dtype
                or map size differ.
        """
        self.load_state_dict(read_state(path))
        return self

    def _empty(self) -> OACAMAccumulator:
        return OACAMAccumulator(
            self.num_classes,
            map_size=self.map_size,
            min_probability=self.min_probability,
            dtype=self.dtype,
            run_id=self.run_id,
        )

    def _check_batch(self, keys: list[str], sizes: Sizes) -> None:
        if sizes["N"] != len(keys):
            raise ValueError(f"keys: expected {sizes['N']}, one an image, got {len(keys)}")
        if sizes["C"] != self.num_classes:
            raise ValueError(
                f"image_labels: expected C = {self.num_classes}, as num_classes, got {sizes['C']}"
            )
        size = (sizes["H"], sizes["W"]) if "H" in sizes.axes else self.map_size
        if self._resized_to is None and self.map_size is not None and size != self.map_size:
            raise ValueError(
                f"cams: expected maps of {self.map_size}, as those stored before, got {size} for "
                f"{_named(keys)}; give map_size to resize all maps to one grid"
            )

    def _frames(
        self, keys: list[str], boxes: Tensor | None, flipped: Tensor | None, sizes: Sizes
    ) -> Frames:
        if boxes is not None:
            sizes.axes["xyxy"] = (4, "(x_min, y_min, x_max, y_max)")
            check_tensor("boxes", boxes, "N xyxy", "float", sizes)
            if self._resized_to is None:
                raise ValueError(
                    "boxes: expected an accumulator with map_size, the grid of whole images, "
                    "got one without"
                )
            boxes = boxes.detach().cpu().to(torch.float64)
            verify(valid_boxes(boxes, keys))
        if flipped is not None:
            check_tensor("flipped", flipped, "N", "bool", sizes)
            flipped = flipped.cpu()
        return Frames(boxes, flipped)

    def _check_alike(
        self,
        name: str,
        num_classes: int,
        dtype: torch.dtype,
        size: tuple[int, int] | None,
        run_id: str,
    ) -> None:
        for what, expected, got in (
            ("run_id", self.run_id, run_id),
            ("num_classes", self.num_classes, num_classes),
            ("dtype", self.dtype, dtype),
            ("map_size", self.map_size or size, size or self.map_size),
        ):
            if expected != got:
                raise ValueError(f"{name}: expected {what} = {expected!r}, got {got!r}")


def _new_store(size: tuple[int, int] | None, dtype: torch.dtype) -> MapStore:
    from ._map_store import MapStore  # numpy, which the package does not import by itself

    return MapStore(size, dtype)


def _pairs(keys: list[str], likely: Tensor, candidates: Tensor) -> Tensor:
    """(image, class) of the maps to store, (n, 2): the likely ones, and the others once a key."""
    pairs = candidates.nonzero()
    if len(set(keys)) == len(keys):
        return pairs
    stored: set[tuple[str, int]] = set()
    kept: list[bool] = []
    found: list[tuple[int, int]] = to_list(pairs)
    for image, c in found:
        kept.append(bool(likely[image, c]) or (keys[image], c) not in stored)
        stored.add((keys[image], c))
    return pairs[torch.tensor(kept, dtype=torch.bool)]


def _named(keys: Sequence[str]) -> str:
    return ", ".join(map(repr, keys[:3])) + (f" and {len(keys) - 3} more" if len(keys) > 3 else "")
