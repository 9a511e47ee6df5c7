"""`command:"program --in {input} --out {output} --scale {scale}"`: runs another method's own program on each clip."""
from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from baselines.exchange import find_result, write_frames, write_video
from baselines.folder import checked_output, read_output
from baselines.process import Finished, TimedOut, clean_environment, run_program
from baselines.recipe import PLACEHOLDERS, Recipe, recipe_of
from patchvsr.errors import UserError
from patchvsr.upscaler import Clip, Progress, Upscaler


class Command(Upscaler):
    """Gives each clip to a program as lossless files, waits, and reads what it wrote, checked as `folder` checks.

    Nothing is taken from a program that fails, takes too long, or writes another size or number of frames.
    """

    name = "command"

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self._finished: Finished | None = None
        self._note = ""

    def describe(self) -> dict[str, Any]:
        """The recipe, values of environment variables as hashes, and the commit where the program runs."""
        told = self.recipe.to_dict()
        told["env"] = {name: hashlib.sha256(value.encode()).hexdigest() for name, value in self.recipe.env.items()}
        return {"name": self.name, **told, "checkout": _checkout(self.recipe.cwd)}

    @property
    def measured(self) -> dict[str, float]:
        """`program_seconds` and `program_peak_mib`: of the whole program, its start and loading included."""
        if self._finished is None:
            return {}
        return {"program_seconds": self._finished.seconds, "program_peak_mib": self._finished.peak_mib}

    @property
    def log(self) -> str:
        """The end of what the last program printed, its errors first."""
        if self._finished is None:
            return ""
        parts = {"stderr": self._finished.stderr, "stdout": self._finished.stdout}
        return "\n".join(f"[{name}]\n{text.rstrip()}" for name, text in parts.items() if text.strip())

    @property
    def note(self) -> str:
        """That the program wrote a lossy format, where it did."""
        return self._note

    def upscale(self, clip: Clip, scale: float, seed: int = 0, progress: Progress | None = None) -> Iterator[Tensor]:
        """One frame `[1, 3, round(H * scale), round(W * scale)]` at a time, after the program has ended.

        Raises:
            UserError: the program cannot be started, fails or takes too long, or what it wrote cannot be the output.
        """
        return self.upscale_from(0, clip, scale, seed, progress)

    def upscale_from(
        self, first: int, clip: Clip, scale: float, seed: int = 0, progress: Progress | None = None
    ) -> Iterator[Tensor]:
        """As `upscale`; the program makes all frames, and the earlier ones are left unread."""
        self._finished, self._note = None, ""
        with tempfile.TemporaryDirectory(prefix="patchvsr-command-") as made:
            folder = Path(made)
            output = folder / "output"
            output.mkdir()
            arguments = self.recipe.arguments(self._values(clip, scale, seed, self._input(clip, folder), output))
            self._run(arguments, clip, folder)
            result = find_result(output, self.recipe.result.replace("{clip}", clip.name))
            self._note = checked_output(result, clip, scale).get("note", "")
            yield from read_output(result, first, progress)

    def _input(self, clip: Clip, folder: Path) -> Path:
        """Write what `{input}` stands for."""
        if self.recipe.input == "frames":
            path = folder / "input" / clip.name
            write_frames(clip.frames, path)
            return path
        path = folder / "input" / f"{clip.name}.mp4"
        path.parent.mkdir()
        write_video(clip.frames, path, self.recipe.fps)
        return path if self.recipe.input == "video" else path.parent

    def _values(self, clip: Clip, scale: float, seed: int, given: Path, output: Path) -> dict[str, object]:
        count, _, height, width = clip.frames.shape
        return {
            "input": given,
            "output": output,
            "scale": f"{scale:g}",
            "clip": clip.name,
            "frames": count,
            "width": width,
            "height": height,
            "out_width": round(width * scale),
            "out_height": round(height * scale),
            "caption": clip.caption or "",
            "seed": seed,
            "fps": f"{self.recipe.fps:g}",
        }

    def _run(self, arguments: list[str], clip: Clip, folder: Path) -> None:
        try:
            self._finished = run_program(
                arguments,
                cwd=Path(self.recipe.cwd) if self.recipe.cwd else None,
                environment=clean_environment(self.recipe.env),
                timeout=self.recipe.timeout,
                folder=folder,
            )
        except TimedOut as error:
            self._finished = error.finished
            raise UserError(
                f"program '{arguments[0]}' was stopped on clip '{clip.name}' after timeout={self.recipe.timeout:g} "
                f"seconds; give it more{self._last_words()}"
            ) from error
        if code := self._finished.code:
            how = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
            raise UserError(f"program '{arguments[0]}' {how} on clip '{clip.name}'{self._last_words()}")

    def _last_words(self) -> str:
        assert self._finished is not None
        lines = [line.strip() for line in self._finished.stderr.splitlines() if line.strip()]
        return f"; its last line of errors: {lines[-1][:300]}" if lines else "; it printed no error"


def command(overrides: dict[str, str], device: torch.device, dtype: torch.dtype) -> Upscaler:
    """Make `command:"..."`; device and dtype have no effect, the program chooses its own.

    Args:
        overrides: the argument (a command line or a YAML file) and the fields of `baselines.recipe.Recipe`.

    Raises:
        UserError: see `baselines.recipe.recipe_of`; or there is no such program.
    """
    recipe = recipe_of(overrides)
    program = recipe.arguments(dict.fromkeys(PLACEHOLDERS, ""))[0]
    if _found(program, recipe) is None:
        raise UserError(f"program '{program}' of baseline 'command' is not found; give its path, or install it")
    return Command(recipe)


def _found(program: str, recipe: Recipe) -> str | None:
    if os.sep in program and recipe.cwd:
        program = os.path.join(recipe.cwd, program)
    return shutil.which(program, path=clean_environment(recipe.env).get("PATH"))


def _checkout(cwd: str) -> str | None:
    """`COMMIT`, or `COMMIT with changes`, of the git checkout in which a program runs; None where it is none."""
    if not cwd:
        return None

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(["git", "-C", cwd, *arguments], capture_output=True, text=True, timeout=20)
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    commit = git("rev-parse", "HEAD")
    if commit is None:
        return None
    return f"{commit} with changes" if git("status", "--porcelain", "--untracked-files=no") else commit
