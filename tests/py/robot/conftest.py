# SPDX-License-Identifier: Apache-2.0
"""The Robot library is no installed package: Robot Framework finds it by ``--pythonpath``."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
LIBRARIES = str(ROOT / "robot" / "libraries")

if LIBRARIES not in sys.path:
    sys.path.insert(0, LIBRARIES)
