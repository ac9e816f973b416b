"""A NeMo model from MODELS_DIR or the local hub cache, and its memory on the device. Nothing is ever fetched."""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from services.transcription.engines.torch_weights import PinnedWeights
from services.transcription.settings import Settings
from shared.errors import ModelNotReady


class NemoModel:
    """A NeMo model ready to compute. On CUDA it can be parked; on the host there is nowhere to park it to."""

    def __init__(self, kind: Any, settings: Settings, name: str, *, dtype: str = "fp32") -> None:
        """`kind`: the class of NeMo that is to restore it. Raises ModelNotReady where it is not on this machine."""
        import torch

        self._where = torch.device(settings.device)
        self.module: Any = restored(kind, settings.models_dir, name)
        self.module.eval()
        self.module.to({"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[dtype])
        self.park: Callable[[], None] | None = None
        self.wake: Callable[[], None] | None = None
        if self._where.type == "cuda":
            self._weights = PinnedWeights(self.module)
            self.park, self.wake = self._park, self._wake
            self._wake()
        else:
            torch.set_num_threads(settings.threads)

    def _park(self) -> None:
        self._weights.park()

    def _wake(self) -> None:
        """Raises torch.cuda.OutOfMemoryError, and has taken nothing then."""
        self._weights.wake(self._where)


def restored(kind: Any, models_dir: Path, name: str) -> Any:
    """The model on the host, in float32. `name`: a `.nemo` file or its folder below MODELS_DIR, else as on the hub.

    NeMo itself would fall back to a download for a name that it does not find, so it is only asked for what is there.
    """
    import torch

    where = torch.device("cpu")
    path = models_dir / name
    files = [path] if path.is_file() else sorted(path.glob("*.nemo"))
    if len(files) > 1:
        raise ModelNotReady(f"{path} holds {len(files)} .nemo files; name one of them, as {name}/{files[0].name}.")
    if files:
        try:
            return kind.restore_from(str(files[0]), map_location=where)
        except (OSError, EOFError, tarfile.TarError, RuntimeError) as error:
            raise ModelNotReady(f"{files[0]} is damaged or no model of NeMo's; fetch it again.") from error
    if in_hub_cache(name):
        return kind.from_pretrained(name, map_location=where)
    raise ModelNotReady(
        f"There is no NeMo model {name!r}: neither a .nemo file at {path} nor in the local hub cache. Run"
        f" `nemo models pull {Path(name).name}` on a connected machine, or put the file there."
    )


def in_hub_cache(name: str) -> bool:
    """Whether `owner/model` was fetched earlier, with the file that NeMo asks for."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    owner, _, model = name.partition("/")
    try:
        return bool(owner and model) and isinstance(try_to_load_from_cache(name, f"{model}.nemo"), str)
    except HFValidationError:
        return False
