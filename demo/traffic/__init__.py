# SPDX-License-Identifier: Apache-2.0
"""Both ends of the demonstration's traffic; each is a process in its own network namespace."""
