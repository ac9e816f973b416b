"""Waveforms of recordings: made on the way to the transcript or when asked for, sealed, and gone with the recording."""

from __future__ import annotations

import numpy as np

from tests.integration.transcription_house import JFK, House, finished, house, spoken, upload, wav

__all__ = ["house"]


def test_a_waveform_is_drawn_at_any_width(house: House) -> None:
    with house.client() as user:
        voice = spoken()
        recording = upload(user, wav(np.stack([voice, voice // 2], axis=1))).json()["transcript_id"]
        for points in (1, 1000, 20_000):
            found = user.get(f"/transcription/{recording}/peaks", params={"points": points}).json()
            assert found["channels"] == len(found["peaks"]) == 2 and found["points"] <= points
            assert {len(each) for each in found["peaks"]} == {2 * found["points"]}
            assert max(found["peaks"][0]) == round(int(voice.max()) / 32768, 4)
        for points in (0, 20_001, "x"):
            assert user.get(f"/transcription/{recording}/peaks", params={"points": points}).status_code == 422


def test_it_is_kept_sealed_made_again_when_missing_and_goes_with_the_recording(house: House) -> None:
    with house.client() as user, house.client() as other:
        recording = upload(user, JFK).json()["transcript_id"]
        path = f"/transcription/{recording}/peaks"
        first = user.get(path).json()
        (row,) = house.sql("SELECT sealed FROM recording_peaks WHERE recording_id = $1", recording)
        assert b"stretch_samples" not in row["sealed"]
        house.sql("DELETE FROM recording_peaks WHERE recording_id = $1", recording)
        assert user.get(path).json() == first
        assert len(house.sql("SELECT 1 FROM recording_peaks WHERE recording_id = $1", recording)) == 1
        assert other.get(path).status_code == 404
        user.delete(f"/transcription/{recording}").raise_for_status()
        assert user.get(path).status_code == 404
        assert not house.sql("SELECT 1 FROM recording_peaks WHERE recording_id = $1", recording)


def test_what_is_no_sound_has_no_waveform_and_says_why(house: House) -> None:
    with house.client() as user:
        accepted = upload(user, b"no sound at all", wait_s=0).json()
        finished(user, accepted["transcript_id"])
        answer = user.get(f"/transcription/{accepted['transcript_id']}/peaks")
        assert answer.status_code == 422 and answer.json()["code"] == "audio_unreadable"
