"""Heat maps of several tables beside each other, on one scale: which blocks are dear on which runtime.

    python tools/heat_maps.py docs/blocks.png host-onnxruntime-fp32-t1-b1-224.jsonl host-litert-int8-t1-b1-224.jsonl …

The tables may be those that `lut_error.py --keep` leaves.
"""

import sys
from pathlib import Path

from hwnas.heatmap import draw_heat_maps, heat_map
from lut.table import LatencyTable


def main() -> None:
    """Read, draw."""
    picture, *tables = map(Path, sys.argv[1:])
    found = [LatencyTable.read(path) for path in tables]
    titles = [f"{table.fingerprint.runtime} {table.fingerprint.precision}" for table in found]
    draw_heat_maps(dict(zip(titles, map(heat_map, found), strict=True)), picture)


if __name__ == "__main__":
    main()
