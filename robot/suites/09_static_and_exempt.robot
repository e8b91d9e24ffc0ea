*** Comments ***
SPDX-License-Identifier: Apache-2.0


*** Settings ***
Documentation    Static mappings, 1:1 rules, and what is not translated: DESIGN 4.2, RFC 6888 REQ-6.
...
...              The client is a server here: 10.0.0.1:80 is 198.51.100.1:8080. 10.0.5.0/24 is
...              203.0.113.0/24, host by host.

Resource         ../resources/dataplane.resource

Test Setup       Start Dataplane    &{STATICS}    nat44.exempt=[192.0.2.128/25]
Test Teardown    Stop Dataplane

Test Tags        static


*** Variables ***
${PORT_80}    {inside: "10.0.0.1:80", outside: "198.51.100.1:8080", protocol: [tcp, udp]}
${NET_5}      {inside: 10.0.5.0/24, outside: 203.0.113.0/24}
&{STATICS}    nat44.static=[${PORT_80}, ${NET_5}]
${GRE}        47


*** Test Cases ***
Server Is Reached From Outside At Once
    [Documentation]    DESIGN 4.2: a static mapping is there before any packet, for everybody.
    ${syn} =    Send Tcp    ${SERVER}:40000    198.51.100.1:8080
    Packet Should Arrive Inside    ${syn}    at=${CLIENT}:80    sender=${SERVER}:40000
    ${answer} =    Send Tcp    ${CLIENT}:80    ${SERVER}:40000    SA
    ${source} =    Packet Should Leave Outside    ${answer}    to=${SERVER}:40000
    Should Be Equal As Strings    ${source}    198.51.100.1:8080

Static Mapping Does Not Expire
    [Documentation]    DESIGN 4.2: it lives as long as it is configured.
    Advance Clock    30 days
    ${sent} =    Send Udp    ${SERVER}:53    198.51.100.1:8080
    Packet Should Arrive Inside    ${sent}    at=${CLIENT}:80    sender=${SERVER}:53

Port Of A Static Mapping Is Nobody Else's
    [Documentation]    RFC 4787 REQ-3: it occupies its own entry of the pool.
    [Setup]    Start Dataplane    nat44.pool=[198.51.100.1]    nat44.ports=8064-8127
    ...    nat44.static=[{inside: "10.0.0.1:80", outside: "198.51.100.1:8080", protocol: udp}]
    ${burst} =    Send Udp From Ports    64    ${NEIGHBOUR}    ${SERVER}:53
    Packets Should Leave    ${burst}    63
    Drops Should Be    ${burst}    out of ports    1

Static Mapping Is Added And Removed While Packets Flow
    [Documentation]    DESIGN 6 (static_add, static_del): it takes the place of a dynamic mapping, and leaves when
    ...    told to.
    Send Udp    ${NEIGHBOUR}:7000    ${SERVER}:53
    Add Static Mapping    ${NEIGHBOUR}:7000    198.51.100.2:7000
    Get External Endpoint    ${NEIGHBOUR}:7000    ==    198.51.100.2:7000
    Remove Static Mapping    198.51.100.2:7000
    ${refused} =    Send Udp    ${SERVER}:53    198.51.100.2:7000
    Packet Should Be Dropped    ${refused}    no mapping

Static Mapping That Cannot Be Is Refused
    [Documentation]    DESIGN 8: a bad call changes nothing and says why.
    Static Mapping Should Be Refused    ${NEIGHBOUR}:7000    198.51.100.1:8080    in use
    Static Mapping Should Be Refused    ${NEIGHBOUR}:7000    192.0.2.77:7000    not found
    Get Mapping Count    ==    0    inside=${NEIGHBOUR}/32

One To One Host Keeps Its Ports
    [Documentation]    DESIGN 4.2: a 1:1 rule translates by address alone.
    ${sent} =    Send Udp    10.0.5.9:5000    ${SERVER}:53
    ${external} =    External Endpoint Of    ${sent}
    Should Be Equal As Strings    ${external}    203.0.113.9:5000
    ${answer} =    Reply To    ${sent}
    Packet Should Arrive Inside    ${answer}    at=10.0.5.9:5000    sender=${SERVER}:53

One To One Host Speaks Every Protocol
    [Documentation]    DESIGN 4.2, RFC 5508 REQ-4: GRE needs no port, and errors about it find their way.
    ${sent} =    Send Protocol    ${GRE}    10.0.5.9    ${SERVER}
    Source Should Be    ${sent}    203.0.113.9
    ${error} =    Send Icmp Error    ${sent}    ${ROUTER}    time exceeded
    Icmp Error Should Reach    ${error}    10.0.5.9    about=${sent}

Exempt Destination Is Not Translated
    [Documentation]    RFC 6888 REQ-6: it is sent on as it is, and counted as passed.
    [Template]    Packet To Should Pass
    exempt    192.0.2.129
    exempt    192.0.2.255
    exempt    10.200.0.1

Multicast And Broadcast Are Not Translated
    [Documentation]    DESIGN 4.2: they are for the link that they are on. (VPP has an arc of its own for multicast, and
    ...    no router forwards a limited broadcast.)
    [Tags]    dataplane:embedded
    [Template]    Packet To Should Pass
    exempt    224.0.0.251
    exempt    255.255.255.255

Exemption Holds For Hosts With A Mapping
    [Documentation]    DESIGN 4.2: a hit does not mean "translate".
    ${sent} =    Send Udp    ${NEIGHBOUR}:5000    ${SERVER}:53
    Packet Should Leave Outside    ${sent}    to=${SERVER}:53
    ${exempt} =    Send Udp    ${NEIGHBOUR}:5000    192.0.2.200:53
    Packet Should Pass Untranslated    ${exempt}    exempt

Exemption Begins With The Next Packet
    [Documentation]    DESIGN 4.2, RFC 6888 REQ-6: a reload that exempts a destination holds for flows that exist
    ...    too.
    Send Udp    ${NEIGHBOUR}:5000    ${SERVER}:53
    Change Configuration    nat44.exempt=[${SERVER}]
    ${exempt} =    Send Udp    ${NEIGHBOUR}:5000    ${SERVER}:53
    Packet Should Pass Untranslated    ${exempt}    exempt

What Is Not Ours Goes On Untouched
    [Documentation]    DESIGN 4.2: neither a source that is no inside host nor a destination outside the pool is
    ...    translated.
    ${transit} =    Send Raw    inside    4500001c0001000040110cbeac100001c00002011388003500080000
    Packet Should Pass Untranslated    ${transit}    not inside
    ${routed} =    Send Udp    ${SERVER}:53    198.51.100.99:5000
    Packet Should Pass Untranslated    ${routed}    not pool


*** Keywords ***
Packet To Should Pass
    [Documentation]    A datagram to this destination is not translated.
    [Arguments]    ${reason}    ${destination}
    ${sent} =    Send Udp    ${NEIGHBOUR}:5000    ${destination}:53
    Packet Should Pass Untranslated    ${sent}    ${reason}
