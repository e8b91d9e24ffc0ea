# SPDX-License-Identifier: Apache-2.0
"""``python -m demo``."""

import sys

from demo.main import main

sys.exit(main(sys.argv[1:]))
