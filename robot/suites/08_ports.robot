*** Comments ***
SPDX-License-Identifier: Apache-2.0


*** Settings ***
Documentation    How ports and blocks are given out: RFC 6056, RFC 6888 REQ-12 to REQ-15, DESIGN 4.2.

Resource         ../resources/dataplane.resource

Test Teardown    Stop Dataplane

Test Tags        ports


*** Test Cases ***
Ports Come From The Configured Range
    [Documentation]    DESIGN 7 (ports, reserved_ports): nothing else is ever allocated.
    [Setup]    Start Dataplane    nat44.ports=2048-3071    nat44.reserved_ports=[2048-2559]    nat44.pool=[198.51.100.1]
    ${burst} =    Send Udp From Ports    512    ${CLIENT}    ${SERVER}:53
    Packets Should Leave    ${burst}    512
    Ports Should Be In Range    ${burst}    2560    3071

Ports Are Hard To Guess
    [Documentation]    RFC 6056 section 3, RFC 6888 REQ-15: random, not one after the other.
    [Setup]    Start Dataplane
    ${burst} =    Send Udp From Ports    256    ${CLIENT}    ${SERVER}:53
    Ports Should Be Hard To Guess    ${burst}

Few Blocks Are Open At A Time
    [Documentation]    DESIGN 4.2: ports are random inside open blocks only, so that the other blocks stay free for
    ...    other instances.
    [Setup]    Start Dataplane    nat44.pool=[198.51.100.1]
    ${burst} =    Send Udp From Ports    256    ${CLIENT}    ${SERVER}:53
    Ports Should Lie In Blocks    ${burst}    64    at_most=24
    Get Gauge    blocks_free    >=    980

Block Goes To One Host
    [Documentation]    RFC 6888 REQ-14, DESIGN 4.2 (allocation: block): one log record stands for many mappings.
    [Setup]    Start Dataplane    nat44.allocation=block    nat44.pool=[198.51.100.1]
    ${burst} =    Send Udp From Ports    64    ${CLIENT}    ${SERVER}:53
    Ports Should Lie In Blocks    ${burst}    64    at_most=1
    Get Blocks Held By    ${CLIENT}    ==    1
    Send Udp From Ports    65    ${NEIGHBOUR}    ${SERVER}:53
    Get Blocks Held By    ${NEIGHBOUR}    ==    2

Host Has A Limit Of Blocks
    [Documentation]    DESIGN 7 (max_blocks_per_host): the next mapping is a counted drop.
    [Setup]    Start Dataplane    nat44.allocation=block    nat44.max_blocks_per_host=2
    ${burst} =    Send Udp From Ports    130    ${CLIENT}    ${SERVER}:53
    Packets Should Leave    ${burst}    128
    Drops Should Be    ${burst}    block limit    2

Assignment And Release Of A Block Are Reported
    [Documentation]    RFC 6888 REQ-12 and section 4, DESIGN 4.2: they are the log records, with host, address and
    ...    ports.
    [Setup]    Start Dataplane    nat44.allocation=block    nat44.hold_down={seconds: 0}
    Send Udp From Ports    20    ${CLIENT}    ${SERVER}:53
    Get Event Count    block assigned    ==    1    host=${CLIENT}
    Advance Clock    301 seconds
    Get Event Count    block released    ==    1    host=${CLIENT}

Every Mapping Is Reported Where That Is Configured
    [Documentation]    DESIGN 7 (log.events): block, mapping or off.
    [Setup]    Start Dataplane    log.events=mapping
    Send Udp From Ports    5    ${CLIENT}    ${SERVER}:53
    Get Event Count    mapping created    ==    5    host=${CLIENT}
    Delete Mappings Of    ${CLIENT}
    Get Event Count    mapping ended    ==    5    host=${CLIENT}

Hosts Spread Over The Pool
    [Documentation]    DESIGN 4.2, independent hashes: with four instances every address of the pool is used, not a
    ...    quarter.
    [Setup]    Start Dataplane    nat44.pool=[198.51.100.0/28]    dataplane.instances={initial: 4, max: 4}
    ${burst} =    Send Udp From Hosts    400    10.0.0.0/16    ${SERVER}:53
    Packets Should Leave    ${burst}    400
    Addresses Used Should Be    ${burst}    16

Address That Left The Pool Drains
    [Documentation]    DESIGN 8: nothing new on it, what lives there goes on until it ends.
    [Setup]    Start Dataplane    nat44.pool=[198.51.100.1]
    ${flows} =    Start Flows    10    10.0.0.0/24    ${SERVER}:53
    Change Configuration    nat44.pool=[198.51.100.2]
    Flows Should Go On    ${flows}
    ${new} =    Send Udp    10.0.1.1:5000    ${SERVER}:53
    Source Should Be    ${new}    198.51.100.2

Address That Is Removed By Force Ends Its Mappings
    [Documentation]    DESIGN 8: by force, what lives there ends and is counted.
    [Setup]    Start Dataplane    nat44.pool=[198.51.100.1]
    ${flows} =    Start Flows    10    10.0.0.0/24    ${SERVER}:53
    Change Configuration    nat44.pool=[198.51.100.2]    force=True
    Flows Should Have Ended    ${flows}
    Get Counter    mappings_deleted    ==    10
