*** Comments ***
SPDX-License-Identifier: Apache-2.0


*** Settings ***
Documentation    Mapping of endpoints and rewriting of packets: RFC 3022, RFC 4787, RFC 5382, RFC 768.
...
...              ``CLIENT``, ``NEIGHBOUR`` -- NAT with four addresses -- ``SERVER``, ``STRANGER``.

Resource         ../resources/dataplane.resource

Test Setup       Start Dataplane
Test Teardown    Stop Dataplane

Test Tags        translation


*** Test Cases ***
Outbound Datagram Gets An Endpoint Of The Pool
    [Documentation]    RFC 3022 section 2.2: the source becomes an endpoint of the pool, and nothing else is
    ...    changed.
    ${sent} =    Send Udp    ${CLIENT}:5000    ${SERVER}:53
    ${external} =    Packet Should Leave Outside    ${sent}    to=${SERVER}:53
    Endpoint Should Be Within    ${external}    ${POOL}
    Get External Endpoint    ${CLIENT}:5000    ==    ${external}

Answer Finds The Way Back
    [Documentation]    RFC 3022 section 2.2: what is sent to the external endpoint reaches the host that it stands
    ...    for.
    ${sent} =    Send Udp    ${CLIENT}:5000    ${SERVER}:53
    ${answer} =    Reply To    ${sent}
    Packet Should Arrive Inside    ${answer}    at=${CLIENT}:5000    sender=${SERVER}:53
    Get Mapping Count    ==    1

Mapping Does Not Depend On The Destination
    [Documentation]    RFC 4787 REQ-1: endpoint-independent mapping, the same external endpoint for every
    ...    destination.
    ${first} =    Send Udp    ${CLIENT}:5000    ${SERVER}:53
    ${second} =    Send Udp    ${CLIENT}:5000    ${STRANGER}:4444
    ${external} =    Packet Should Leave Outside    ${first}    to=${SERVER}:53
    ${again} =    Packet Should Leave Outside    ${second}    to=${STRANGER}:4444
    Should Be Equal    ${external}    ${again}
    Get Counter    mappings_created    ==    1

Host Keeps Its External Address
    [Documentation]    RFC 4787 REQ-2, RFC 6888 REQ-2: paired pooling, over ports and protocols.
    ${udp} =    Send Udp    ${CLIENT}:5000    ${SERVER}:53
    ${other} =    Send Udp    ${CLIENT}:5001    ${SERVER}:53
    ${tcp} =    Send Tcp    ${CLIENT}:5000    ${SERVER}:80
    ${ping} =    Send Query    ${CLIENT}:77    ${SERVER}
    All Should Share One External Address    ${udp}    ${other}    ${tcp}    ${ping}

Two Hosts Never Share An Endpoint
    [Documentation]    RFC 4787 REQ-3: no port overloading, although both use the same port and one pool address.
    [Setup]    Start Dataplane    nat44.pool=[198.51.100.1]
    ${burst} =    Send Udp From Hosts    200    10.0.0.0/24    ${SERVER}:53
    Packets Should Leave    ${burst}    200
    Endpoints Should Be Unique    ${burst}

Protocols Are Apart
    [Documentation]    RFC 7857 section 5: a UDP mapping is none for TCP.
    ${sent} =    Send Udp    ${CLIENT}:5000    ${SERVER}:53
    ${external} =    External Endpoint Of    ${sent}
    ${probe} =    Send Tcp    ${SERVER}:53    ${external}
    Packet Should Be Dropped    ${probe}    no mapping

Tcp Connection Opens, Carries And Closes
    [Documentation]    RFC 5382 REQ-2, RFC 7857 figure 1: each step of a connection gets through and is followed.
    ${connection} =    Open Tcp Connection    ${CLIENT}:5000    ${SERVER}:80
    Get Tcp State    ${CLIENT}:5000    ==    established
    Send Segments Of    ${connection}    > PA    < PA    > FA
    Get Tcp State    ${CLIENT}:5000    ==    fin in2out
    Send Segments Of    ${connection}    < FA    > A
    Get Tcp State    ${CLIENT}:5000    ==    fin both

Both Ends Of A Connection May Open It
    [Documentation]    RFC 5382 REQ-2a: simultaneous open, two SYNs that cross.
    ${syn} =    Send Tcp    ${CLIENT}:5000    ${SERVER}:80    S
    ${crossing} =    Reply To    ${syn}    flags=S
    Packet Should Arrive Inside    ${crossing}    at=${CLIENT}:5000    sender=${SERVER}:80
    Get Tcp State    ${CLIENT}:5000    ==    established

First Segment Must Be A Syn
    [Documentation]    RFC 6146 section 3.5.2.2: a segment in the middle of nowhere makes no mapping.
    [Template]    First Segment Should Be Dropped
    A
    PA
    FA
    R
    SA

Absent Checksum Stays Absent
    [Documentation]    RFC 768: a UDP checksum of 0 means that there is none; a NAT must not invent one.
    ${sent} =    Send Udp    ${CLIENT}:5000    ${SERVER}:53    checksum=none
    Packet Should Leave Outside    ${sent}    to=${SERVER}:53
    ${checksum} =    Udp Checksum Of    ${sent}
    Should Be Equal    ${checksum}    0x0000

Checksum That Computes To Zero Is Sent As All Ones
    [Documentation]    RFC 768: a computed checksum of 0 is sent as 0xffff, else the receiver takes it for none.
    ${first} =    Send Udp    ${CLIENT}:5000    ${SERVER}:53
    ${external} =    External Endpoint Of    ${first}
    ${payload} =    Payload With Zero Checksum    ${external}    ${SERVER}:53
    ${sent} =    Send Udp    ${CLIENT}:5000    ${SERVER}:53    payload=${payload}
    ${checksum} =    Udp Checksum Of    ${sent}
    Should Be Equal    ${checksum}    0xffff

Wrong Checksum Is Not Repaired
    [Documentation]    RFC 5382 section 8, end-to-end checks: damage stays visible to the receiver.
    ${sent} =    Send Udp    ${CLIENT}:5000    ${SERVER}:53    checksum=wrong
    Packet Should Leave Outside    ${sent}    to=${SERVER}:53
    Checksum Should Be Wrong    ${sent}

Ip Options Are Carried Along
    [Documentation]    RFC 791 section 3.1: options do not hide the ports, and stay as they are. (VPP gives packets
    ...    with options to its control plane before the NAT sees them.)
    [Tags]    dataplane:embedded
    ${sent} =    Send Udp    ${CLIENT}:5000    ${SERVER}:53    options=94040000
    Packet Should Leave Outside    ${sent}    to=${SERVER}:53
    ${answer} =    Reply To    ${sent}
    Packet Should Arrive Inside    ${answer}    at=${CLIENT}:5000    sender=${SERVER}:53

Protocol Without Ports Cannot Share An Address
    [Documentation]    RFC 4787 section 1, DESIGN 4.2: dropped by a stated policy and counted, not sent with an
    ...    inside address.
    [Template]    Protocol Should Be Dropped
    47    # GRE
    4    # IP in IP
    50    # ESP
    132    # SCTP

Malformed Packets Are Dropped And Counted
    [Documentation]    DESIGN 8: a packet is never trusted; each kind of damage has its own counted reason. (VPP
    ...    drops such packets before the NAT sees them.)
    [Tags]    dataplane:embedded
    [Template]    Raw Packet Should Be Dropped
    malformed    450000140001000040110000    # header cut short
    malformed    430000140001000040110000c00002010a000001    # header length below 20
    malformed    4500004000010000401100000a000001c0000201    # total length beyond the end
    bad checksum    4500001c00010000401112340a000001c00002011388003500080000


*** Keywords ***
All Should Share One External Address
    [Documentation]    The packets left with the same source address.
    [Arguments]    ${one}    ${two}    ${three}    ${four}
    ${a} =    External Endpoint Of    ${one}
    ${b} =    External Endpoint Of    ${two}
    ${c} =    External Endpoint Of    ${three}
    ${d} =    External Endpoint Of    ${four}
    Endpoints Should Share Address    ${a}    ${b}    ${c}    ${d}

First Segment Should Be Dropped
    [Documentation]    A first segment with these flags makes no mapping.
    [Arguments]    ${flags}
    ${sent} =    Send Tcp    ${CLIENT}:5000    ${SERVER}:80    ${flags}
    Packet Should Be Dropped    ${sent}    tcp not syn
    Get Mapping Count    ==    0

Protocol Should Be Dropped
    [Documentation]    A packet of this protocol is dropped under its own reason.
    [Arguments]    ${number}
    ${sent} =    Send Protocol    ${number}    ${CLIENT}    ${SERVER}
    Packet Should Be Dropped    ${sent}    unsupported protocol

Raw Packet Should Be Dropped
    [Documentation]    These bytes are dropped for this reason.
    [Arguments]    ${reason}    ${bytes}
    ${sent} =    Send Raw    inside    ${bytes}
    Packet Should Be Dropped    ${sent}    ${reason}
