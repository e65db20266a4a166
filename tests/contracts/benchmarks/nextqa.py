"""NExT-QA: two questions of each split, and the map from videos to VidOR's folders."""

import json
from pathlib import Path

from tests.contracts.benchmarks import Row

COLUMNS = "video,frame_count,width,height,question,answer,qid,type,a0,a1,a2,a3,a4"


def write(root: Path) -> None:
    folder = root / "dataset" / "nextqa"
    folder.mkdir(parents=True)
    for split, video in (("val", "41"), ("test", "52")):
        rows = (
            f"{video},30,64,48,why did she run,2,0,CW,a,b,c ,d,e",
            f'{video},30,64,48,"what came before, then",4,1,TP,a,b,c,d, e',
        )
        (folder / f"{split}.csv").write_text("\n".join((COLUMNS, *rows)) + "\n")
    (folder / "map_vid_vidorID.json").write_text(json.dumps({"41": "0101/41"}))
    (root / "NExTVideo" / "0101").mkdir(parents=True)
    (root / "NExTVideo" / "0101" / "41.mp4").write_bytes(b"not looked at here")
    (root / "NExTVideo" / "52.mp4").write_bytes(b"nor here")


ROW = Row(
    write,
    {"val": ("41_0", "41_1"), "test": ("52_0", "52_1")},
    real={"val": ("nextqa", 4996), "test": ("nextqa", 8564)},
    counts={
        "val": {
            "type": {
                "CW": 1924,
                "CH": 683,
                "TN": 895,
                "TC": 663,
                "TP": 54,
                "DO": 305,
                "DL": 295,
                "DC": 177,
            }
        }
    },
)
