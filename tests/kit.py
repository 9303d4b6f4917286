"""What tests of several rooms use: a space that is measured in no time, and what came of a command."""

import json
from dataclasses import dataclass
from typing import Any

from hwnas.spaces.ofa_mbv3 import MobileNetV3Space, Stage

TINY = MobileNetV3Space(
    "tiny",
    resolutions=(16,),
    image_chs=1,
    stem_chs=8,
    stages=(Stage(8, 2, False, "relu"), Stage(16, 1, True, "hswish")),
    depths=(1, 2),
    kernels=(3,),
    expands=(3, 6),
    head_chs=(16, 16),
    classes=3,
)


def small(*resolutions: int) -> MobileNetV3Space:
    """A space of so few architectures that all of them can be looked at."""
    return MobileNetV3Space(
        "small",
        resolutions=resolutions,
        image_chs=1,
        stem_chs=8,
        stages=(Stage(8, 2, False, "relu"), Stage(16, 1, True, "relu")),
        depths=(1, 2),
        kernels=(3, 5),
        expands=(3, 4),
        head_chs=(16, 16),
        classes=3,
    )


@dataclass(frozen=True)
class Outcome:
    """What a command ended with and printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def only(self) -> Any:
        """The one result of a command that gives a list of them."""
        (result,) = self.json
        return result

    @property
    def refusal(self) -> str:
        """The one line on stderr that says what was wrong; nothing else was said."""
        (line,) = self.err.splitlines()
        assert line.startswith("hwnas: ") and not self.out, self
        return line

    @property
    def complaint(self) -> str:
        """The one line that says why the command failed, behind what it told of on the way."""
        lines = [line for line in self.err.splitlines() if line.startswith("hwnas: ")]
        assert len(lines) == 1 and self.err.endswith(lines[0] + "\n") and "Traceback" not in self.err, self
        return lines[0]
