"""One decoded video through a processor's own video processor."""

from typing import Any

from merit_opt.data.video import Video


def video_inputs(processor: Any, video: Video) -> tuple[Any, str]:
    """What the vision tower reads, and what stands for the video in a prompt.

    Frames are taken as they are: which of them to look at was decided when they were decoded.
    """
    metadata = {
        "total_num_frames": video.sampling.total,
        "fps": video.sampling.fps,
        "frames_indices": list(video.sampling.indices),
    }
    inputs = processor.video_processor(
        videos=[video.frames],
        video_metadata=[metadata],
        do_sample_frames=False,
        return_metadata=True,
        return_tensors="pt",
    )
    return inputs, processor.replace_video_token(inputs, video_idx=0)
