*** Comments ***
SPDX-License-Identifier: Apache-2.0


*** Settings ***
Documentation    What happens when something runs out: RFC 6888 REQ-4 and REQ-11, DESIGN 8.
...
...              New flows are dropped and counted under the reason; flows that exist go on, and none is
...              ended to make room.

Resource         ../resources/dataplane.resource

Test Teardown    Stop Dataplane

Test Tags        exhaustion


*** Variables ***
# 128 ports of each address, in two blocks
&{SMALL}    nat44.ports=1024-1151    nat44.hold_down={seconds: 0}


*** Test Cases ***
Every Port Of The Pool Is Used Before New Flows Are Dropped
    [Documentation]    RFC 6888 REQ-11 and REQ-13: not one port too few; then a counted drop.
    [Setup]    Start Dataplane    &{SMALL}    nat44.pool=[198.51.100.1]
    ${burst} =    Send Udp From Ports    130    ${CLIENT}    ${SERVER}:53
    Packets Should Leave    ${burst}    128
    Endpoints Should Be Unique    ${burst}
    Drops Should Be    ${burst}    out of ports    2

Live Mappings Are Never Ended To Make Room
    [Documentation]    RFC 6888 REQ-11: not even the one that was idle for longest.
    [Setup]    Start Dataplane    &{SMALL}    nat44.pool=[198.51.100.1]
    ${flows} =    Start Flows    128    10.0.0.0/16    ${SERVER}:53
    Advance Clock    299 seconds
    ${refused} =    Send Udp    10.1.0.1:5000    ${SERVER}:53
    Packet Should Be Dropped    ${refused}    out of ports
    Flows Should Go On    ${flows}

Expired Mappings Make Room
    [Documentation]    DESIGN 4.2: what time has ended is free for others.
    [Setup]    Start Dataplane    &{SMALL}    nat44.pool=[198.51.100.1]
    Start Flows    128    10.0.0.0/16    ${SERVER}:53
    Advance Clock    301 seconds
    ${burst} =    Send Udp From Hosts    128    10.1.0.0/16    ${SERVER}:53
    Packets Should Leave    ${burst}    128

Protocols Do Not Take Each Other's Ports
    [Documentation]    DESIGN 2: a block is for all protocols; an endpoint is of one.
    [Setup]    Start Dataplane    &{SMALL}    nat44.pool=[198.51.100.1]
    Start Flows    128    10.0.0.0/16    ${SERVER}:53
    ${segment} =    Send Tcp    ${CLIENT}:5000    ${SERVER}:80
    Packet Should Leave Outside    ${segment}    to=${SERVER}:80
    ${ping} =    Send Query    ${CLIENT}:77    ${SERVER}
    Packets Should Leave    ${ping}    1

Exhausted Address Falls Back To Another
    [Documentation]    DESIGN 4.2, paired pooling: a host whose address has no port left gets one of another
    ...    address.
    [Setup]    Start Dataplane    &{SMALL}    nat44.pool=[198.51.100.0/31]
    ${burst} =    Send Udp From Ports    200    ${CLIENT}    ${SERVER}:53
    Packets Should Leave    ${burst}    200
    Addresses Used Should Be    ${burst}    2

Exhausted Address Does Not Fall Back Where That Is Configured
    [Documentation]    RFC 4787 REQ-2, DESIGN 7 (fallback): strictly one address for a host.
    [Setup]    Start Dataplane    &{SMALL}    nat44.pool=[198.51.100.0/31]    nat44.fallback=false
    ${burst} =    Send Udp From Ports    200    ${CLIENT}    ${SERVER}:53
    Packets Should Leave    ${burst}    128
    Addresses Used Should Be    ${burst}    1

Host Has A Limit Of Mappings
    [Documentation]    RFC 6888 REQ-4: one host cannot take the others' share.
    [Setup]    Start Dataplane    nat44.limits={mappings_per_host: 10}
    ${burst} =    Send Udp From Ports    12    ${CLIENT}    ${SERVER}:53
    Drops Should Be    ${burst}    host limit    2
    ${neighbour} =    Send Udp    ${NEIGHBOUR}:5000    ${SERVER}:53
    Packet Should Leave Outside    ${neighbour}    to=${SERVER}:53

Host Has A Limit By Protocol
    [Documentation]    RFC 6888 REQ-4 B: limits for each protocol alone.
    [Setup]    Start Dataplane    nat44.limits={mappings_per_host: {udp: 3}}
    ${burst} =    Send Udp From Ports    4    ${CLIENT}    ${SERVER}:53
    Drops Should Be    ${burst}    host limit    1
    ${segment} =    Send Tcp    ${CLIENT}:5000    ${SERVER}:80
    Packet Should Leave Outside    ${segment}    to=${SERVER}:80

Host Has A Limit Of New Mappings Per Second
    [Documentation]    RFC 6888 REQ-4 C: a burst is dropped, the next second is a new one.
    [Setup]    Start Dataplane    nat44.limits={new_per_second_per_host: 5}
    ${burst} =    Send Udp From Ports    8    ${CLIENT}    ${SERVER}:53
    Drops Should Be    ${burst}    rate limit    3
    Advance Clock    1 second
    ${later} =    Send Udp From Ports    5    ${CLIENT}    ${SERVER}:53    first_port=100
    Packets Should Leave    ${later}    5

Instance Has A Limit Of Mappings
    [Documentation]    DESIGN 7 (max_mappings): the memory of an instance is fixed at its start.
    [Setup]    Start Dataplane    nat44.max_mappings=128
    ${burst} =    Send Udp From Hosts    130    10.0.0.0/16    ${SERVER}:53
    Packets Should Leave    ${burst}    128
    Drops Should Be    ${burst}    out of mappings    2

Instance That Runs Dry Is Refilled
    [Documentation]    DESIGN 5, refill: with all load on one of four instances, 99.9 % of the whole pool can be
    ...    used.
    [Tags]    instances
    [Setup]    Start Dataplane    nat44.pool=[198.51.100.1]    nat44.ports=1024-2047
    ...    dataplane.instances={initial: 4, max: 4}
    Send Udp From Ports    1024    ${CLIENT}    ${SERVER}:53
    Send Udp From Ports    1024    ${CLIENT}    ${SERVER}:53    first_port=5000
    Get Mapping Count    >=    1023
