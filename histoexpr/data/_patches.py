"""Image patches of spots as a sliceable X for scikit-learn."""

from dataclasses import dataclass, replace

import numpy as np

from .. import _keys
from ..exceptions import InputError
from ..utils import name_some
from . import _patch_checks as checks
from ._images import SectionImage
from ._target import check_positions

_OF_USER = (_keys.SPATIAL, "positions", _keys.SECTION, _keys.PATIENT, "mpp")
_PER_SPOT = ("_source", "_row", "_crop_px", "_fill", *_OF_USER)


@dataclass(frozen=True, eq=False, repr=False)
class SpotPatches:
    """One image patch a spot, cut from the section image when it is asked for.

    Build it with :meth:`from_images` or :meth:`from_arrays`. Indexing with a slice, a mask or an
    array of integers gives another ``SpotPatches`` that shares the pixels; an integer gives the
    patch. ``np.asarray`` gives all patches, cut section by section. :meth:`map` gives one whose
    patches are changed, too, when they are asked for.

    Attributes
    ----------
    spatial : ndarray of shape (n_spots, 2), dtype float64, or None
        (x, y) of the spot centre, in pixels of the section image at full resolution.
    positions : ndarray of shape (n_spots, 2), dtype int64, or None
        Grid coordinates (array_col, array_row).
    section : ndarray of shape (n_spots,), dtype str
        Name of the section.
    patient : ndarray of shape (n_spots,), dtype str, or None
        Name of the patient.
    mpp : ndarray of shape (n_spots,), dtype float64
        Micrometres per pixel of the section image; NaN where unknown.
    crop_px : ndarray of shape (n_spots,), dtype int64
        Side of the square that is cut, in pixels of the section image.
    patch_mpp : ndarray of shape (n_spots,), dtype float64
        Micrometres per pixel of the patch as returned; NaN where unknown.
    shape : tuple of int
        (n_spots, height, width, 3).
    section_images : dict of str to SectionImage
        The images that patches are cut from, by section; ``.pixels()`` decodes one.

    Notes
    -----
    A spot at (x, y) with a crop of s px is given columns ``floor(x - s/2 + 1/2)`` onwards, s of
    them, and rows likewise: for an even s the centre lies between two pixels, for an odd s on
    one. A crop of another size than ``out_px`` is resized by Pillow's antialiased bicubic filter;
    one of the same size is returned to the bit. What lies beyond the border is ``fill``.
    """

    _sources: tuple  # of SectionImage, or of ndarray (n, height, width, 3): patches as given
    _patch_shape: tuple
    _source: np.ndarray  # (n_spots,) index into _sources
    _row: np.ndarray  # (n_spots,) row of the ndarray; 0 for a SectionImage
    _crop_px: np.ndarray  # (n_spots,) pixels of the section image
    _fill: np.ndarray  # (n_spots, 3) uint8
    spatial: np.ndarray | None
    positions: np.ndarray | None
    section: np.ndarray
    patient: np.ndarray | None
    mpp: np.ndarray
    _maps: tuple = ()  # of function(patches, spots), applied in this order to what was cut

    def __post_init__(self):
        for name in _PER_SPOT:
            values = getattr(self, name)
            if values is not None:
                view = values.view()
                view.flags.writeable = False
                object.__setattr__(self, name, view)

    @classmethod
    def from_arrays(
        cls, patches, *, spatial=None, positions=None, section=None, patient=None, mpp=None
    ):
        """Take patches that are cut already.

        Parameters
        ----------
        patches : array-like of shape (n_spots, height, width, channels), dtype uint8
            Grey is repeated to three channels, RGBA is laid on white. RGB is not copied.
        spatial : array-like of shape (n_spots, 2), default=None
            (x, y) of the spot centres, pixels at full resolution.
        positions : array-like of shape (n_spots, 2), default=None
            (array_col, array_row), whole numbers.
        section, patient : str or array-like of shape (n_spots,), default=None
            Without ``section`` all spots are of section ``"0"``.
        mpp : float, dict of section to float, or array-like of shape (n_spots,), default=None
            Micrometres per pixel of the patches.

        Returns
        -------
        SpotPatches

        Raises
        ------
        ValueError
            If there are no patches, they are not 8-bit with 1, 3 or 4 channels, or an argument
            has another length.
        """
        patches = checks.check_patch_array(patches)
        n_spots, height, width = patches.shape[:3]
        section = checks.check_names(section, n_spots, _keys.SECTION, default=checks.ONE_SECTION)
        return cls(
            _sources=(patches,),
            _patch_shape=(height, width, 3),
            _source=np.zeros(n_spots, np.intp),
            _row=np.arange(n_spots),
            _crop_px=np.full(n_spots, width),
            _fill=np.full((n_spots, 3), 255, np.uint8),
            spatial=None if spatial is None else checks.check_spatial(spatial, n_spots),
            positions=None if positions is None else check_positions(positions, n_spots),
            section=section,
            patient=checks.check_names(patient, n_spots, _keys.PATIENT),
            mpp=checks.spread_mpp(mpp, section),
        )

    @classmethod
    def from_images(
        cls,
        images,
        spatial,
        *,
        section=None,
        patient=None,
        positions=None,
        mpp=None,
        patch_size="224px",
        out_px=224,
        fill=255,
    ):
        """Cut a square around each spot of one or more section images.

        Parameters
        ----------
        images : image, or dict of section to image
            An image is an array, a PIL image or a path (JPG, PNG, TIFF); a file is read when
            its pixels are first needed, once per process. Of a Slide (`open_slide`) only the
            squares are read.
        spatial : array-like of shape (n_spots, 2)
            (x, y) of the spot centres, in pixels of these images.
        section, patient : str or array-like of shape (n_spots,), default=None
            ``section`` is needed when there is more than one image.
        positions : array-like of shape (n_spots, 2), default=None
            (array_col, array_row), whole numbers.
        mpp : float, dict of section to float, or array-like of shape (n_spots,), default=None
            Micrometres per pixel of the section image. None: what a Slide knows of itself.
        patch_size : str, default="224px"
            Side of the square with its unit: ``"224px"`` of the section image or ``"155um"``,
            which needs ``mpp`` and is rounded to whole pixels.
        out_px : int, default=224
            Side of the patch as returned, in pixels.
        fill : int or tuple of 3 int, default=255
            Colour beyond the border, 0 to 255.

        Returns
        -------
        SpotPatches

        Raises
        ------
        ValueError
            If a centre is NaN or outside its image, a section has no image or no spots, the
            patch size has no unit, or micrometres are asked for without ``mpp``.
        FileNotFoundError
            If there is no file at an image's path.
        TypeError
            If an image is not an array, a PIL image or a path.
        """
        spatial = checks.check_spatial(spatial)
        n_spots = len(spatial)
        images, section = checks.match_sections(images, section, n_spots)
        if mpp is None:
            mpp = {name: image.mpp for name, image in images.items()}
        mpp = checks.spread_mpp(mpp, section)
        out_px = checks.check_out_px(out_px)
        source = np.zeros(n_spots, np.intp)
        for index, (name, image) in enumerate(images.items()):
            source[section == name] = index
            checks.check_centres(spatial, section == name, name, image)
        return cls(
            _sources=tuple(images.values()),
            _patch_shape=(out_px, out_px, 3),
            _source=source,
            _row=np.zeros(n_spots, np.intp),
            _crop_px=checks.crop_sizes(patch_size, mpp, section),
            _fill=np.tile(checks.check_fill(fill), (n_spots, 1)),
            spatial=spatial,
            positions=None if positions is None else check_positions(positions, n_spots),
            section=section,
            patient=checks.check_names(patient, n_spots, _keys.PATIENT),
            mpp=mpp,
        )

    @classmethod
    def concatenate(cls, parts):
        """Put the spots of several ``SpotPatches`` one after the other; pixels stay shared.

        Parameters
        ----------
        parts : list of SpotPatches
            With patches of one size, and each optional attribute known in all of them or none.

        Returns
        -------
        SpotPatches

        Raises
        ------
        ValueError
            If there are none, their patches differ in size or in the functions of :meth:`map`,
            an attribute is known for some only, or a section name stands for two images.
        """
        parts = checks.check_parts(parts, cls)
        shapes = {part._patch_shape[:2] for part in parts}
        if len(shapes) > 1:
            raise InputError(
                f"The patches differ in size (height, width): {sorted(shapes)}. Build all parts "
                "with the same out_px."
            )
        if any(part._maps != parts[0]._maps for part in parts):
            raise InputError(
                "The parts are changed by different functions when they are read. Concatenate "
                "first, then map or transform the whole."
            )
        sources, shifted = [], []
        for part in parts:
            index = [_index_of(source, sources) for source in part._sources]
            shifted.append(np.asarray(index, np.intp)[part._source])
        columns = {}
        for name in _PER_SPOT[1:]:
            values = [getattr(part, name) for part in parts]
            known = [value is not None for value in values]
            if any(known) and not all(known):
                raise InputError(
                    f"{name!r} is known for some of the parts only; give it for all or for none."
                )
            columns[name] = np.concatenate(values) if all(known) else None
        whole = cls(
            _sources=tuple(sources),
            _patch_shape=parts[0]._patch_shape,
            _source=np.concatenate(shifted),
            _maps=parts[0]._maps,
            **columns,
        )
        checks.check_one_image_a_section(whole)
        return whole

    def map(self, function):
        """Change patches when they are read; nothing is read now, and pixels stay shared.

        Parameters
        ----------
        function : callable
            ``function(patches, spots)``: ``patches``, (n, height, width, 3) uint8, were just read
            from the ``SpotPatches`` ``spots``, row by row. It returns an array of the same shape
            and dtype, treats each patch alone, and pickles when this object has to.

        Returns
        -------
        SpotPatches
        """
        return replace(self, _maps=(*self._maps, function))

    @property
    def is_mapped(self):
        """Whether patches are changed when they are read: see :meth:`map`."""
        return bool(self._maps)

    @property
    def shape(self):
        return (len(self), *self._patch_shape)

    @property
    def dtype(self):
        return np.dtype(np.uint8)

    @property
    def ndim(self):
        return 4

    @property
    def crop_px(self):
        return self._crop_px

    @property
    def patch_mpp(self):
        return self.mpp * self._crop_px / self._patch_shape[1]

    @property
    def section_images(self):
        pairs = zip(self.section, self._source)
        found = {str(name): self._sources[index] for name, index in dict.fromkeys(pairs)}
        return {k: v for k, v in found.items() if isinstance(v, SectionImage)}

    def __len__(self):
        return len(self._source)

    def __sizeof__(self):  # by which dask tells what to send once from what goes with every task
        arrays = [*self._sources, *(getattr(self, name) for name in _PER_SPOT)]
        return object.__sizeof__(self) + sum(a.nbytes for a in arrays if a is not None)

    def __getitem__(self, index):
        rows = checks.rows_of(index, len(self))
        if isinstance(rows, int):
            return self._read(np.array([rows]))[0]
        columns = {name: getattr(self, name) for name in _PER_SPOT}
        return replace(self, **{k: None if v is None else v[rows] for k, v in columns.items()})

    def __array__(self, dtype=None, copy=None):
        if copy is False:
            raise InputError(
                "Unable to avoid copy while creating an array as requested: patches are cut from "
                "the section image. Use np.asarray(X) or copy=None."
            )
        patches = self._read(np.arange(len(self)))
        return patches if dtype is None else patches.astype(dtype, copy=False)

    def __repr__(self):
        names = list(dict.fromkeys(self.section.tolist()))
        size = "{} x {} px".format(*self._patch_shape)
        if self.section_images:
            size = f"squares of {_span(self._crop_px, '.0f')} px as {size}"
        return (
            f"<SpotPatches: {len(self)} spots, section {name_some(names) or 'none'}, {size}, "
            f"{_span(self.mpp, '.3g') or 'unknown'} um/px>"
        )

    def _read(self, rows):
        """Patches of these rows, (n, height, width, 3), as the functions of `map` leave them."""
        patches = self._cut(rows)
        for depth, function in enumerate(self._maps):
            spots = replace(self[rows], _maps=self._maps[:depth])
            mapped = np.asarray(function(patches, spots))
            if (mapped.shape, mapped.dtype) != (patches.shape, patches.dtype):
                raise InputError(
                    f"{function!r} must return patches like those it is given, {patches.shape} "
                    f"uint8; it returned {mapped.shape} {mapped.dtype}."
                )
            patches = mapped
        return patches

    def _cut(self, rows):
        """Patches of these rows, (n, height, width, 3); each image is asked for once."""
        patches = np.empty((len(rows), *self._patch_shape), np.uint8)
        for index in np.unique(self._source[rows]):
            mine = np.flatnonzero(self._source[rows] == index)
            source = self._sources[index]
            if isinstance(source, np.ndarray):
                patches[mine] = source[self._row[rows[mine]]]
                continue
            spots = rows[mine]
            squares = source.cut(
                self.spatial[spots], self._crop_px[spots], self._patch_shape[0], self._fill[spots]
            )
            for i, square in zip(mine, squares):
                patches[i] = square
        return patches

    def __getstate__(self):
        """Only the sources, and the rows of given patches, that these spots need."""
        state = dict(self.__dict__)
        used, state["_source"] = np.unique(self._source, return_inverse=True)
        state["_row"], sources = self._row.copy(), []
        for position, index in enumerate(used):
            source = self._sources[index]
            if isinstance(source, np.ndarray):
                mine = state["_source"] == position
                needed, inverse = np.unique(self._row[mine], return_inverse=True)
                if len(needed) < len(source):
                    source, state["_row"][mine] = source[needed], inverse
            sources.append(source)
        state["_sources"] = tuple(sources)
        return state


def _index_of(source, sources):
    """Position of this very object in the list; appended when it is new."""
    for index, known in enumerate(sources):
        if known is source:
            return index
    sources.append(source)
    return len(sources) - 1


def _span(values, form):
    """``"0.69"`` or ``"0.69 to 0.92"``; empty when nothing is known."""
    values = values[~np.isnan(values.astype(float))]
    if not len(values):
        return ""
    low, high = format(values.min(), form), format(values.max(), form)
    return low if low == high else f"{low} to {high}"
