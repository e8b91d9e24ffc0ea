# SPDX-License-Identifier: Apache-2.0
"""What `check` lets pass, the engine takes: odd configurations, and the verdicts of both."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hashmvt.config import check
from hashmvt.dataplane.embedded import Engine, engine_settings, stepped

# few addresses, so that they meet; the odd ones of RFC 6890 among them
ODD = """
0.0.0.0 0.1.2.3 10.0.0.0 10.0.0.1 10.1.0.0 10.255.255.255 100.64.0.0 127.0.0.1 169.254.0.1 192.0.2.0
192.168.0.1 198.51.100.0 198.51.100.1 198.51.100.255 203.0.113.0 223.255.255.255 224.0.0.0 239.1.2.3
240.0.0.0 255.255.255.255
"""
ADDRESSES = st.sampled_from(ODD.split())
PREFIXES = st.builds("{}/{}".format, ADDRESSES, st.sampled_from([0, 1, 4, 8, 16, 24, 28, 31, 32]))
RANGES = st.builds("{}-{}".format, ADDRESSES, ADDRESSES)
PORTS = st.sampled_from([0, 1, 53, 80, 1023, 1024, 1087, 32768, 65534, 65535])
ENDPOINTS = st.builds("{}:{}".format, ADDRESSES, PORTS)
SIDES = st.one_of(ADDRESSES, PREFIXES, ENDPOINTS)
PORT_RANGES = st.one_of(PORTS, st.builds("{}-{}".format, PORTS, PORTS))
NUMBERS = st.sampled_from([0, 1, 2, 64, 255, 65536, 2**31, 2**32 - 1, 2**32])


def some(strategy: st.SearchStrategy[object], most: int = 3) -> st.SearchStrategy[list[object]]:
    return st.lists(strategy, min_size=1, max_size=most)


STATICS = some(
    st.fixed_dictionaries(
        {"inside": SIDES, "outside": SIDES}, optional={"protocol": st.sampled_from(["udp", "icmp"])}
    )
)
LIMITS = st.fixed_dictionaries(
    {}, optional={"mappings_per_host": NUMBERS, "new_per_second_per_host": NUMBERS}
)
POLICIES = some(
    st.fixed_dictionaries(
        {"inside": some(PREFIXES, 2)},
        optional={
            "pool": some(st.one_of(ADDRESSES, RANGES), 2),
            "limits": LIMITS,
            "timeouts": st.fixed_dictionaries({"udp": NUMBERS}),
            "filtering": st.sampled_from(["endpoint-independent", "address-dependent"]),
        },
    ),
    2,
)
NAT44 = st.fixed_dictionaries(
    {
        "inside": st.one_of(st.just(["10.0.0.0/8"]), some(PREFIXES)),
        "pool": st.one_of(st.just(["198.51.100.0/28"]), some(st.one_of(ADDRESSES, RANGES), 2)),
        "max_mappings": st.sampled_from([1, 2, 63, 64, 1000, 4096]),
    },
    optional={
        "ports": PORT_RANGES,
        "reserved_ports": some(PORT_RANGES),
        "block_size": st.sampled_from([1, 2, 64, 4096, 32768, 65536]),
        "allocation": st.sampled_from(["port", "block"]),
        "max_blocks_per_host": NUMBERS,
        "timeouts": st.one_of(
            NUMBERS, st.fixed_dictionaries({}, optional={"udp": NUMBERS, "fragment": NUMBERS})
        ),
        "hold_down": st.fixed_dictionaries(
            {}, optional={"seconds": NUMBERS, "max_share": st.sampled_from([0, 0.1, 0.5, 1])}
        ),
        "limits": LIMITS,
        "exempt": some(PREFIXES),
        "policies": POLICIES,
        "static": STATICS,
    },
)
INSTANCES = st.sampled_from([{"initial": 1, "max": 1}, {"initial": 3, "max": 4}, {"initial": 2}])


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(nat44=NAT44, instances=INSTANCES)
def test_what_check_lets_pass_the_engine_takes(
    nat44: dict[str, object], instances: dict[str, int]
) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "hashmvt.yaml"
        path.write_text(yaml.safe_dump({"nat44": nat44, "dataplane": {"instances": instances}}))
        config = check(path).config
        if config:
            with Engine(stepped(engine_settings(config))) as engine:
                engine.snapshot()
