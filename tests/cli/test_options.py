"""What the options that several verbs share make of their texts."""

import pytest

from percert.cli.options import metric_and_file
from percert.metrics.certified.exported import NetworkShape
from percert.training.student import new_student, save_model


def test_a_model_whose_folder_has_an_equals_sign_is_taken_whole(tmp_path):
    folder = tmp_path / "s=10" / "model"
    shape = NetworkShape(family="tiny")
    save_model(new_student(shape, "x", 0).network, shape, "x", folder, {})
    assert metric_and_file(str(folder)) == (str(folder), None)


def test_the_file_of_weights_is_what_follows_the_name():
    assert metric_and_file("lpips-alex=a=b.pth") == ("lpips-alex", "a=b.pth")
    assert metric_and_file("ssim=") == ("ssim", None)
    with pytest.raises(ValueError, match="did you mean 'ssim'"):
        metric_and_file("ssmi=x")
