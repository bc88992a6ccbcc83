"""predict_slides several at a time: the files of one at a time, and what workers do not see."""

import joblib
import pytest

from histoexpr.exceptions import MissingFileError
from histoexpr.slides import SlidesFailed, _many, predict_slides


@pytest.fixture
def slides(slide, tmp_path):
    """The same slide under three names."""
    paths = [tmp_path / f"{name}.tif" for name in "cab"]
    for path in paths:
        path.write_bytes(slide.read_bytes())
    return paths


def test_slides_in_parallel_are_those_in_turn(model, slides, tmp_path):
    told = []
    one = predict_slides(model, slides, tmp_path / "one")
    with joblib.parallel_config("threading", n_jobs=8):  # more than slides, and than cores
        two = predict_slides(
            model, slides, tmp_path / "two", on_done=lambda slide, path: told.append(slide)
        )
    assert list(one) == list(two) == slides and set(told) == set(slides)
    assert [path.stem for path in two.values()] == ["c", "a", "b"]
    read = pytest.importorskip("anndata").read_h5ad
    for slide in slides:
        assert (read(one[slide]).X == read(two[slide]).X).all()


@pytest.mark.parametrize(("n_jobs", "error"), [(0, ValueError), ("2", TypeError)])
def test_n_jobs_is_refused_before_the_work(model, slides, tmp_path, n_jobs, error):
    with pytest.raises(error, match="n_jobs"):
        predict_slides(model, slides, tmp_path / "out", n_jobs=n_jobs)
    assert not (tmp_path / "out").exists()


def absent(model, slide, path, **options):
    raise MissingFileError(f"There is no slide at {slide}.")


@pytest.mark.parametrize(
    ("instead", "message"),
    [
        (lambda *args, **options: None, "written by a worker, and is not to be seen from here"),
        (absent, "There is no slide at .*workers have to see it, too, under the same name"),
    ],
)
def test_workers_that_see_other_files_are_told_of(
    model, slides, tmp_path, monkeypatch, instead, message
):
    monkeypatch.setattr(_many, "predict_slide", instead)
    with pytest.raises(SlidesFailed, match=message) as caught:
        predict_slides(model, slides, tmp_path / "out")
    assert list(caught.value.failed) == slides and not caught.value.done
