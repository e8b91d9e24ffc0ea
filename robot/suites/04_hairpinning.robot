*** Comments ***
SPDX-License-Identifier: Apache-2.0


*** Settings ***
Documentation    Inside hosts that meet at external endpoints: RFC 4787 REQ-9, RFC 5382 REQ-8, RFC 5508 REQ-7.
...
...              The packet comes from inside and goes inside; on its way it is translated twice.

Resource         ../resources/dataplane.resource

Test Setup       Start Dataplane
Test Teardown    Stop Dataplane

Test Tags        hairpinning


*** Test Cases ***
Neighbour Sees The External Source
    [Documentation]    RFC 4787 REQ-9a: the source is the sender's external endpoint, so that the answer passes the
    ...    NAT too.
    ${target} =    External Endpoint For    ${NEIGHBOUR}:7000
    ${source} =    External Endpoint For    ${CLIENT}:5000
    ${sent} =    Send Udp    ${CLIENT}:5000    ${target}
    Packet Should Arrive Inside    ${sent}    at=${NEIGHBOUR}:7000    sender=${source}
    ${answer} =    Send Udp    ${NEIGHBOUR}:7000    ${source}
    Packet Should Arrive Inside    ${answer}    at=${CLIENT}:5000    sender=${target}

Hairpin Makes A Mapping For Its Sender
    [Documentation]    RFC 4787 REQ-9: the sender needs none before.
    ${target} =    External Endpoint For    ${NEIGHBOUR}:7000
    ${sent} =    Send Udp    ${CLIENT}:5000    ${target}
    ${source} =    Get External Endpoint    ${CLIENT}:5000
    Packet Should Arrive Inside    ${sent}    at=${NEIGHBOUR}:7000    sender=${source}

Hairpin Between Instances
    [Documentation]    DESIGN 4.3: after in2out it is an out2in packet for the owner of the destination's block.
    [Setup]    Start Dataplane    dataplane.instances={initial: 4, max: 4}
    [Template]    Hairpin Should Arrive
    10.0.0.1    10.0.0.2
    10.0.0.3    10.0.0.4
    10.0.0.5    10.0.0.6
    10.0.0.7    10.0.0.8
    10.0.0.9    10.0.0.10
    10.0.0.1    10.0.0.1

Connection Between Two Inside Hosts
    [Documentation]    RFC 5382 REQ-8: TCP too, and both of its mappings follow the connection.
    [Setup]    Start Dataplane    nat44.static=[{inside: "10.0.0.2:80", outside: "198.51.100.1:80", protocol: tcp}]
    ${syn} =    Send Tcp    ${CLIENT}:5000    198.51.100.1:80
    ${source} =    External Endpoint Of    ${syn}
    Packet Should Arrive Inside    ${syn}    at=${NEIGHBOUR}:80    sender=${source}
    ${answer} =    Send Tcp    ${NEIGHBOUR}:80    ${source}    SA
    Packet Should Arrive Inside    ${answer}    at=${CLIENT}:5000    sender=198.51.100.1:80
    Get Tcp State    ${CLIENT}:5000    ==    established

Error About A Hairpinned Packet
    [Documentation]    RFC 5508 REQ-7: it is translated twice as well, and quotes what its receiver sent.
    ${target} =    External Endpoint For    ${NEIGHBOUR}:7000
    ${sent} =    Send Udp    ${CLIENT}:5000    ${target}
    ${error} =    Send Icmp Error    ${sent}    ${NEIGHBOUR}
    Icmp Error Should Reach    ${error}    ${CLIENT}    about=${sent}
    Source Should Be    ${error}    ${target.addr}

Nobody There
    [Documentation]    RFC 4787 REQ-9: a hairpin to an endpoint without mapping is dropped like any packet from
    ...    outside.
    ${sent} =    Send Udp    ${CLIENT}:5000    198.51.100.2:9
    Packet Should Be Dropped    ${sent}    no mapping

Filter Sees The External Source
    [Documentation]    RFC 4787 REQ-9 and section 5: for address-dependent filtering the remote is the other's
    ...    external address.
    [Setup]    Start Dataplane    nat44.filtering=address-dependent    nat44.pool=[198.51.100.1]
    ${target} =    External Endpoint For    ${NEIGHBOUR}:7000
    ${refused} =    Send Udp    ${CLIENT}:5000    ${target}
    Packet Should Be Dropped    ${refused}    filtered
    Send Udp    ${NEIGHBOUR}:7000    198.51.100.1:9
    ${sent} =    Send Udp    ${CLIENT}:5000    ${target}
    Packets Should Leave    ${sent}    1


*** Keywords ***
External Endpoint For
    [Documentation]    Give an inside endpoint a mapping and return its external side.
    [Arguments]    ${inside}
    ${sent} =    Send Udp    ${inside}    ${SERVER}:53
    ${external} =    External Endpoint Of    ${sent}
    RETURN    ${external}

Hairpin Should Arrive
    [Documentation]    One host sends to the external endpoint of the other.
    [Arguments]    ${from}    ${to}
    ${target} =    External Endpoint For    ${to}:7000
    ${source} =    External Endpoint For    ${from}:5000
    ${sent} =    Send Udp    ${from}:5000    ${target}
    Packet Should Arrive Inside    ${sent}    at=${to}:7000    sender=${source}
