"""A small MELD: three CSV files that tests write and spoil."""

from __future__ import annotations

HEADER = (
    "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode,StartTime,EndTime"
)
ROWS = (
    '3,None,Ross,anger,negative,4,0,1,1,"0:01:00,5","00:01:02,000"',
    '2,"Oh, NOOO!!",Joey,joy,positive,0,1,1,1,"00:00:02,000","00:00:03,000"',
    '1,I\u2019m fine\u2026,Ross,neutral,neutral,0,0,1,1,"00:00:01,000","00:00:02,500"',
    '4,"Well, what?",Joey,surprise,negative,0,2,1,1,"00:09:01,000","00:09:00,000"',
    '5,you,Ross,fear,negative,0,3,1,1,"00:09:02,000","00:19:00,000"',
)


def write_csvs(folder, rows=ROWS, header=HEADER):
    """The same rows as train, dev and test."""
    for split in ("train", "dev", "test"):
        (folder / f"{split}_sent_emo.csv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return folder
