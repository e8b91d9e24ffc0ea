# SPDX-License-Identifier: Apache-2.0
"""Lets tests import each other's helpers from the repository's root, as mypy sees them."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
