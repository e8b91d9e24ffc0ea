# SPDX-License-Identifier: Apache-2.0
"""The paper's experiments as functions: each call is one run of one case, in C (plugin/bench).

What is measured is here; cases, medians and output are ``hashmvt.cli.bench``'s. Nothing of a
dataplane or of the control plane imports this package.
"""
