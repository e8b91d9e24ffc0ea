# SPDX-License-Identifier: Apache-2.0
"""Configuration: a YAML file becomes one frozen ``Config``, or every reason why not.

``load`` raises, ``check`` reports; ``plan_policy`` makes of the NAT44 section what a dataplane
takes, with slots that stay stable over reloads; ``changes`` says what differs between two files.
"""

from hashmvt.config.changes import Change, changes
from hashmvt.config.plan import drained_slots, plan_policy
from hashmvt.config.read import Report, check, load, tls_problems
from hashmvt.config.values import (
    AddressRange,
    AgentConfig,
    Allocation,
    Config,
    CoordinatorConfig,
    DataplaneConfig,
    DataplaneKind,
    DispatcherConfig,
    DispatcherKind,
    EmbeddedConfig,
    FailureConfig,
    HoldDown,
    Instances,
    Limits,
    LogConfig,
    Nat44Config,
    PolicyConfig,
    PortRange,
    TlsConfig,
    VppConfig,
)

__all__ = [
    "AddressRange",
    "AgentConfig",
    "Allocation",
    "Change",
    "Config",
    "CoordinatorConfig",
    "DataplaneConfig",
    "DataplaneKind",
    "DispatcherConfig",
    "DispatcherKind",
    "EmbeddedConfig",
    "FailureConfig",
    "HoldDown",
    "Instances",
    "Limits",
    "LogConfig",
    "Nat44Config",
    "PolicyConfig",
    "PortRange",
    "Report",
    "TlsConfig",
    "VppConfig",
    "changes",
    "check",
    "drained_slots",
    "load",
    "plan_policy",
    "tls_problems",
]
