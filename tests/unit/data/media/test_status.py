import copy

from merit_opt.data.media.status import MediaError, MediaStatus, worst


def test_a_media_error_can_be_rebuilt_as_a_process_border_does(tmp_path):
    error = copy.copy(MediaError(tmp_path / "a.mp4", "gone"))
    assert (error.path, error.reason) == (tmp_path / "a.mp4", "gone")


def test_the_worst_of_several_statuses_names_every_reader_and_detail():
    one, other = (
        MediaStatus("partial", "PyAV", "2 packets"),
        MediaStatus("truncated", "decord", "cut"),
    )
    assert worst([one, other, other]) == MediaStatus("partial", "PyAV; decord", "2 packets; cut")
    assert str(one) == "partial: 2 packets"
