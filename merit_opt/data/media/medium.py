"""What a question is about: a video or a still image."""

from merit_opt.data.media.decoded import Video
from merit_opt.data.media.frame_folder import read_frame_folder
from merit_opt.data.media.frames import FramePlan
from merit_opt.data.media.identity import medium_kind
from merit_opt.data.media.image import Image, picture_count, read_image
from merit_opt.data.media.status import MediaError
from merit_opt.data.media.succession import in_succession
from merit_opt.data.media.unpacked import shown_path, unpacked
from merit_opt.data.media.video import DecoderName, read_video
from merit_opt.data.sample import Media

Medium = Video | Image


def read_medium(
    media: tuple[Media, ...], plan: FramePlan, decoder: DecoderName = "auto"
) -> Medium:
    """What a sample is about; several media become one video, one after another.

    An image by its file's suffix, else a video; a GIF of several pictures is a video, and so is a
    folder of frames. `plan` chooses of each medium by itself.

    Args:
        media: What a sample is about, at least one.
        plan: Which frames of a video.
        decoder: See `read_video`.

    Raises:
        MediaError: One cannot be read, or holds several pictures and is no GIF: no other
            animation is read by all that reads videos.
    """
    found = [_read(one, plan, decoder) for one in media]
    if len(found) == 1:
        return found[0]
    try:
        return in_succession(found, [max(0.0, one.start or 0.0) for one in media])
    except ValueError as error:
        raise MediaError(shown_path(media[0]), str(error)) from error


def _read(media: Media, plan: FramePlan, decoder: DecoderName) -> Medium:
    kind = medium_kind(shown_path(media))
    if media.member is None and media.path.is_dir():
        return read_frame_folder(media.path, plan, media.start, media.end, media.fps)
    with unpacked(media) as path:
        try:
            if kind == "video" or (kind == "animation" and picture_count(path) > 1):
                return read_video(path, plan, media.start, media.end, decoder)
            return read_image(path)
        except MediaError as error:
            raise MediaError(shown_path(media), error.reason) from error
