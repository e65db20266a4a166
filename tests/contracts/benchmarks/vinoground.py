"""Vinoground, one pair."""

import json
from pathlib import Path

from tests.contracts.benchmarks import Row

CAPTIONS = {"pos": "it rolls before it falls", "neg": "it falls before it rolls"}
AFTER = "Answer with the option's letter from the given choices directly."


def write(root: Path) -> None:
    (root / "vinoground.csv").write_text(
        "index,major,minor,pos_vid,pos_start,pos_end,pos_cap,neg_vid,neg_start,neg_end,neg_cap\n"
        f"0,action,cyclical;spatial,x,5,15,{CAPTIONS['pos']},y,10,20,{CAPTIONS['neg']}\n"
    )
    options = f"A. {CAPTIONS['pos']}\nB. {CAPTIONS['neg']}"
    text = [
        {
            "idx": f"0_{side}",
            "question": f"Which caption best describes this video?\n{options}\n{AFTER}",
            "video_name": f"vinoground_videos/0_{side}.mp4",
            "GT": right,
        }
        for side, right in (("pos", "A"), ("neg", "B"))
    ]
    video = [
        {
            "idx": f"0_{side}",
            "question": f"Which segment matches this caption?\nCaption: {CAPTIONS[side]}\n"
            f"A. First segment\nB. Second segment\n{AFTER}",
            "video_name": "vinoground_videos_concated/0.mp4",
            "GT": right,
        }
        for side, right in (("pos", "A"), ("neg", "B"))
    ]
    (root / "vinoground_textscore.json").write_text(json.dumps(text))
    (root / "vinoground_videoscore.json").write_text(json.dumps(video))
    for name in ("videos/0_pos", "videos/0_neg", "videos_concated/0"):
        path = root / f"vinoground_{name}.mp4"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"not looked at here")


TEXT, VIDEO = ("0_pos_text", "0_neg_text"), ("0_pos_video", "0_neg_video")
ROW = Row(write, {"text": TEXT, "video": VIDEO, "group": (*TEXT, *VIDEO)})
