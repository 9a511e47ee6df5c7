"""Weights that lie in a Hugging Face hub repository."""
from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from patchvsr.errors import UserError
from patchvsr.weights.sources import Source

# Far more than a hub that can be reached needs for its first answer.
SECONDS = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Hub(Source):
    """A file in a repository.

    Attributes:
        repository: `owner/name`.
        revision: a branch, tag or commit; what is fetched is checked by its hash, so that a branch will do.
    """

    kind: ClassVar[str] = "hub"

    repository: str
    revision: str = "main"

    @property
    def description(self) -> str:
        """`owner/name (hub), file`."""
        return f"{self.repository} (hub), {self.file}"

    def download(self, name: str, folder: Path) -> Path:
        """The file, from the hub's own cache if it is there, else from the hub at $HF_ENDPOINT.

        Raises:
            UserError: offline mode is set, the hub is not reached within a few seconds, or it has no such file for
                this user.
        """
        from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache

        kept = try_to_load_from_cache(self.repository, self.file, revision=self.revision)
        if isinstance(kept, str):
            return Path(kept)
        absent = f"weights '{name}' are not in the cache and"
        by_hand = (
            f"bring {self.file_name} of {self.repository} on the Hugging Face hub from elsewhere: "
            f"`patchvsr weights fetch {name} --from FILE`"
        )
        if constants.HF_HUB_OFFLINE:
            raise UserError(
                f"{absent} HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE forbids fetching them; unset it, or {by_hand}"
            )
        # huggingface_hub itself tries again and again, for most of a minute.
        if not reachable(SECONDS):
            raise UserError(
                f"{absent} the hub at {constants.ENDPOINT} cannot be reached; connect to the network or set "
                f"HF_ENDPOINT to a mirror, or {by_hand}"
            )
        try:
            return Path(hf_hub_download(self.repository, self.file, revision=self.revision, local_dir=folder))
        except Exception as error:  # the library and what it is built on raise many kinds
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise UserError(f"{absent} could not be fetched ({reason}); try again later, or {by_hand}") from error


def reachable(seconds: float) -> bool:
    """Whether the hub answers one request within `seconds`, whatever the answer; with the hub client's own proxies."""
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session

    answered = threading.Event()

    def ask() -> None:
        try:
            get_session().head(constants.ENDPOINT, timeout=seconds)
        except Exception:  # any failure means that it cannot be reached
            return
        answered.set()

    # Looking up an address knows no timeout, so that the asking is waited for and then left alone.
    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(seconds + 1)
    return answered.is_set()
