"""One decoded video through a processor's own video processor."""

from typing import Any

from merit_opt.data.video import Video


class VideoRefused(ValueError):
    """A processor cannot take the video; one too short, for instance."""


def video_inputs(processor: Any, video: Video) -> tuple[Any, str]:
    """What the vision tower reads, and what stands for the video in a prompt.

    Frames are taken as they are: which of them to look at was decided when they were decoded.

    Raises:
        VideoRefused: The processor says that it cannot take it.
    """
    metadata = {
        "total_num_frames": video.sampling.total,
        "fps": video.sampling.fps,
        "frames_indices": list(video.sampling.indices),
    }
    try:
        inputs = processor.video_processor(
            videos=[video.frames],
            video_metadata=[metadata],
            do_sample_frames=False,
            return_metadata=True,
            return_tensors="pt",
        )
    except ValueError as error:
        raise VideoRefused(str(error)) from error
    return inputs, processor.replace_video_token(inputs, video_idx=0)
