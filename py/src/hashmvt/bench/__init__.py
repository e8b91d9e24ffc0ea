# SPDX-License-Identifier: Apache-2.0
"""Measurements that need more than the core: what ``hashmvt bench`` runs."""
