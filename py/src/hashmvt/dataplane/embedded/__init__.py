# SPDX-License-Identifier: Apache-2.0
"""The embedded engine: ``EmbeddedDataplane`` for programs, ``Engine`` for tests, replay, bench."""

from hashmvt.dataplane.embedded.engine import Engine
from hashmvt.dataplane.embedded.plane import EmbeddedDataplane
from hashmvt.dataplane.embedded.settings import EngineSettings, engine_settings, stepped

__all__ = ["EmbeddedDataplane", "Engine", "EngineSettings", "engine_settings", "stepped"]
