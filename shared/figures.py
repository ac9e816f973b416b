"""Every figure that a scrape may show, by name: what it counts, in which unit, and the values its labels may have.

Names follow Prometheus: base units, `_total` for what only rises (https://prometheus.io/docs/practices/naming/). A
label never holds an id or what a user wrote: its values are listed here, or () where the house itself bounds them
(devices, codes of errors, routes).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
LONG_SECONDS = (0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)
PER_SECOND = (1, 2, 5, 10, 20, 30, 50, 75, 100, 150, 250, 500)
TIMES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1, 1.5, 2, 3, 5)
"""Of real-time factors: seconds of work per second of sound."""


@dataclass(frozen=True)
class Figure:
    """One name in a scrape."""

    kind: Literal["counter", "gauge", "histogram"]
    name: str
    about: str
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Values that each label may have; () where they are not known before."""
    buckets: tuple[float, ...] = SECONDS


TASK_CLASSES = ("interactive", "background")
STAGES = ("decode", "vad", "asr", "diarization", "identification", "emotion", "vault")

EVERYWHERE = (
    Figure("counter", "nemo_requests_total", "Answered requests.",
           {"service": (), "method": (), "route": (), "status": ()}),
    Figure("histogram", "nemo_request_seconds", "Time to the end of the answer.",
           {"service": (), "method": (), "route": ()}),
    Figure("gauge", "nemo_sockets_open", "WebSockets that are open."),
    Figure("counter", "nemo_errors_total", "Errors that were told to a caller, by their code.", {"code": ()}),
    Figure("gauge", "nemo_build_info", "1; the label says which version runs.", {"version": ()}),
    Figure("gauge", "nemo_disk_bytes", "Size of the disk that holds the data folder."),
    Figure("gauge", "nemo_disk_free_bytes", "What is free of it."),
    Figure("counter", "nemo_scrape_failures_total", "Figures that could not be read for a scrape.", {"part": ()}),
)  # fmt: skip

MODEL = (
    Figure("gauge", "nemo_model_ready", "1 while the model is in memory and may be used."),
    Figure("gauge", "nemo_model_memory_bytes", "Memory of the model's process; 0 where there is none."),
    Figure("histogram", "nemo_model_wait_seconds", "How long somebody waited for the model to be in memory.",
           buckets=LONG_SECONDS),
    Figure("histogram", "nemo_model_wake_seconds", "Loading the model.", buckets=LONG_SECONDS),
    Figure("histogram", "nemo_model_park_seconds", "Letting go of its memory.", buckets=LONG_SECONDS),
    Figure("counter", "nemo_model_starts_total", "Starts of the model's process; more than one is a restart."),
    Figure("counter", "nemo_model_deaths_total", "Times that the model's process ended unasked."),
)  # fmt: skip

OF_SERVICE: Mapping[str, tuple[Figure, ...]] = {
    "api-gateway": (
        Figure("gauge", "nemo_audit_chain_ok", "1 while the audit log is as it was written, 0 once it was changed."),
        Figure("counter", "nemo_sign_ins_total", "Tries to sign in.", {"outcome": ("ok", "refused")}),
    ),
    "gemma": (
        *MODEL,
        Figure("counter", "nemo_llm_tokens_total", "Tokens that the language model wrote."),
        Figure("counter", "nemo_llm_answers_total", "Texts that it was asked for.",
               {"outcome": ("finished", "stopped", "failed")}),
        Figure("histogram", "nemo_llm_first_token_seconds", "From asking to the first token, waiting included."),
        Figure("histogram", "nemo_llm_queue_seconds", "Waiting for a place to write."),
        Figure("histogram", "nemo_llm_tokens_per_second", "Pace of one text after its first token.",
               buckets=PER_SECOND),
        Figure("gauge", "nemo_llm_waiting", "Texts that wait for a place."),
        Figure("gauge", "nemo_llm_writing", "Texts that are being written."),
    ),
    "transcription": (
        *MODEL,
        Figure("counter", "nemo_transcription_audio_seconds_total", "Sound of recordings that were completed."),
        Figure("counter", "nemo_transcription_recordings_total", "Runs of the pipeline.",
               {"outcome": ("completed", "without_a_stage", "failed", "cancelled", "put_off")}),
        Figure("histogram", "nemo_transcription_stage_seconds", "One stage of one recording.", {"stage": STAGES},
               LONG_SECONDS),
        Figure("histogram", "nemo_transcription_real_time_factor", "Seconds of work per second of sound.",
               buckets=TIMES),
        Figure("gauge", "nemo_transcription_backlog_recordings", "Recordings that wait or are being worked on."),
        Figure("gauge", "nemo_transcription_backlog_seconds",
               "Their sound; what was not decoded yet is taken to be as dense as what was."),
        Figure("gauge", "nemo_transcription_stored_bytes", "Sound that is kept, before sealing."),
        Figure("gauge", "nemo_live_sessions", "Live recordings that are open."),
        Figure("gauge", "nemo_live_lag_seconds", "How far the final words are behind the sound; the worst of them."),
    ),
    "rag": (
        Figure("histogram", "nemo_search_seconds", "One search, its embedding included.",
               {"mode": ("hybrid", "vector", "text")}),
        Figure("histogram", "nemo_embedding_seconds", "Embedding of some texts, waiting included."),
        Figure("counter", "nemo_embedded_texts_total", "Texts that were embedded."),
        Figure("gauge", "nemo_vaults_open", "Vaults that are open."),
        Figure("gauge", "nemo_index_bytes", "Memory of their indexes."),
    ),
    "emotion": (),
    "tts": (
        Figure("counter", "nemo_tts_audio_seconds_total", "Sound that was made."),
        Figure("histogram", "nemo_tts_real_time_factor", "Seconds of work per second of sound, by the sentence.",
               buckets=TIMES),
        Figure("histogram", "nemo_tts_first_sound_seconds", "From a request to its first sound."),
    ),
    "gpu-coordinator": (
        Figure("gauge", "nemo_queue_waiting_tasks", "Tasks that wait.", {"task_class": TASK_CLASSES}),
        Figure("gauge", "nemo_queue_running_tasks", "Tasks that a worker has."),
        Figure("gauge", "nemo_queue_oldest_seconds", "How long the oldest of the tasks that are due has waited.",
               {"task_class": TASK_CLASSES}),
        Figure("histogram", "nemo_queue_seconds", "From the submission of a task to its first start.",
               {"task_class": TASK_CLASSES}, LONG_SECONDS),
        Figure("counter", "nemo_queue_ended_total", "Runs of tasks, by how they ended.",
               {"outcome": ("succeeded", "failed", "released", "cancelled", "worker_lost")}),
        Figure("gauge", "nemo_gpu_memory_bytes", "Memory of a device.", {"device": ()}),
        Figure("gauge", "nemo_gpu_memory_free_bytes", "What its driver says is free.", {"device": ()}),
        Figure("gauge", "nemo_gpu_memory_reserved_bytes", "What the holders may take.", {"device": ()}),
        Figure("gauge", "nemo_gpu_alarm", "1 while there is something that an operator should look at.",
               {"device": ()}),
        Figure("gauge", "nemo_gpu_holder_resident", "1 while a model holds memory.", {"holder": ()}),
        Figure("gauge", "nemo_gpu_holder_failures", "Failed wakings in a row.", {"holder": ()}),
        Figure("counter", "nemo_gpu_changes_total", "Commands and findings of the coordinator.",
               {"holder": (), "what": ()}),
        Figure("counter", "nemo_gpu_swaps_total", "Changes of residence.", {"holder": (), "what": ("wake", "park")}),
        Figure("counter", "nemo_gpu_swapped_bytes_total", "Bytes woken and parked.", {"what": ("wake", "park")}),
        Figure("histogram", "nemo_gpu_step_seconds", "From a command to its steps.",
               {"what": ("wake", "park", "turn", "fence"), "step": ("received", "done", "free")}),
    ),
}  # fmt: skip

CATALOGUE = {each.name: each for each in (*EVERYWHERE, *(one for some in OF_SERVICE.values() for one in some))}


def of_service(service: str) -> tuple[Figure, ...]:
    return (*EVERYWHERE, *OF_SERVICE.get(service, ()))
