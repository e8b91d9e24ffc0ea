# SPDX-License-Identifier: Apache-2.0
"""``python -m demo``."""

import os
import signal
import sys

# until there is something to clean up, an interrupt just ends the process, as that of any program
signal.signal(signal.SIGINT, signal.SIG_DFL)

from demo.main import main  # noqa: E402 - importing takes long enough to be interrupted
from demo.sandbox import READER_LEFT  # noqa: E402

try:
    code = main(sys.argv[1:])
    sys.stdout.flush()
except BrokenPipeError:
    code = READER_LEFT
    # what Python would still flush goes nowhere
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
sys.exit(code)
