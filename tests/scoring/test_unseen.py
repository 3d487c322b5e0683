from __future__ import annotations

import pytest

from voxangle.data import Trials
from voxangle.errors import TrialError
from voxangle.scoring.unseen import require_unseen

TRIALS = Trials.of(
    "list", [(True, "eval/s1/a.wav", "eval/s1/b.wav"), (False, "eval/s1/a.wav", "eval/s2/a.wav")]
)


@pytest.mark.parametrize(
    "key",
    ["eval/s1/a.wav", "/data/eval/s1/a.wav", "../eval/s2/a.wav", "s1/b.wav"],
)
def test_a_tested_recording_is_found_whatever_folder_its_key_begins_at(key: str) -> None:
    with pytest.raises(
        TrialError, match=r"list: 1 of its 3 utterances, such as 'eval/s[12]/[ab].wav', are also among"
    ):
        require_unseen(TRIALS, None, keys={key, "other/x.wav"}, learnt_speakers=(), what="the cohort")


@pytest.mark.parametrize(
    "key", ["train/s1/a.wav", "a.wav", "s1-a.wav", "xeval/s1/a.wav", "eval/s1/a.wav/more"]
)
def test_other_recordings_may_be_learnt_from(key: str) -> None:
    require_unseen(TRIALS, None, keys={key}, learnt_speakers=(), what="the cohort")


def test_a_tested_speaker_is_found() -> None:
    speakers = {key: key[5:7] for key in TRIALS.utterances}
    with pytest.raises(TrialError, match="1 of its 2 speakers, such as 's2'"):
        require_unseen(TRIALS, speakers, keys={"x"}, learnt_speakers={"s2", "s9"}, what="the cohort")
