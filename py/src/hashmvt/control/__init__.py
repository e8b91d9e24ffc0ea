# SPDX-License-Identifier: Apache-2.0
"""The control plane: agents that hold dataplanes, and the coordinator that scales them.

* :mod:`hashmvt.control.wire`, :mod:`~hashmvt.control.keyfile`: the authenticated heartbeat.
* :mod:`hashmvt.control.homemap`: edits of a home map that keep its meaning; pure.
* :mod:`hashmvt.control.plan`: what to do next, from what was wanted and observed; pure.
* :mod:`hashmvt.control.agent`, :mod:`~hashmvt.control.coordinator`: the two daemons.
"""

import os

# gRPC writes lines of its own to standard error, beside the one sentence that says what is wrong;
# it looks when it is imported
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
