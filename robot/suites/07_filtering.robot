*** Comments ***
SPDX-License-Identifier: Apache-2.0


*** Settings ***
Documentation    Who may send to a mapping: RFC 4787 section 5 and REQ-8, RFC 5382 REQ-3, RFC 6888 REQ-7.
...
...              The client has spoken to ``SERVER``:53 and to nobody else.

Resource         ../resources/dataplane.resource

Test Teardown    Stop Dataplane

Test Tags        filtering


*** Test Cases ***
Endpoint-Independent Filtering Lets Anybody In
    [Documentation]    RFC 4787 REQ-8, RFC 6888 REQ-7: the default, for transparency.
    [Setup]    Start Dataplane    nat44.filtering=endpoint-independent
    [Template]    Datagram From Outside Should
    come in    ${SERVER}:53
    come in    ${SERVER}:54
    come in    ${STRANGER}:53

Address-Dependent Filtering Lets Known Addresses In
    [Documentation]    RFC 4787 REQ-8: any port of the addresses that the host has spoken to.
    [Setup]    Start Dataplane    nat44.filtering=address-dependent
    [Template]    Datagram From Outside Should
    come in    ${SERVER}:53
    come in    ${SERVER}:54
    be filtered    ${STRANGER}:53

Address-And-Port-Dependent Filtering Lets Known Endpoints In
    [Documentation]    RFC 4787 section 5: only the endpoints that the host has spoken to.
    [Setup]    Start Dataplane    nat44.filtering=address-and-port-dependent
    [Template]    Datagram From Outside Should
    come in    ${SERVER}:53
    be filtered    ${SERVER}:54
    be filtered    ${STRANGER}:53

Filtering Is Configured By Protocol
    [Documentation]    RFC 5382 REQ-3b: that of TCP does not depend on that of UDP.
    [Setup]    Start Dataplane    nat44.filtering={tcp: address-and-port-dependent}
    ${segment} =    Send Tcp    ${CLIENT}:5000    ${SERVER}:80
    ${external} =    External Endpoint Of    ${segment}
    ${refused} =    Send Tcp    ${STRANGER}:80    ${external}    S
    Packet Should Be Dropped    ${refused}    filtered
    Datagram From Outside Should    come in    ${STRANGER}:53

New Connection From Outside Is Filtered By Its Address
    [Documentation]    RFC 5382 REQ-3: address-dependent filtering lets a known host open another connection.
    [Setup]    Start Dataplane    nat44.filtering=address-dependent
    ${connection} =    Open Tcp Connection    ${CLIENT}:5000    ${SERVER}:80
    ${known} =    Send Tcp    ${SERVER}:20    ${connection.external}
    Packet Should Arrive Inside    ${known}    at=${CLIENT}:5000    sender=${SERVER}:20
    ${refused} =    Send Tcp    ${STRANGER}:20    ${connection.external}
    Packet Should Be Dropped    ${refused}    filtered

Speaking To A Remote Host Lets It In
    [Documentation]    RFC 4787 section 5: the filter learns from each packet that goes out.
    [Setup]    Start Dataplane    nat44.filtering=address-and-port-dependent
    Datagram From Outside Should    be filtered    ${STRANGER}:53
    Send Udp    ${CLIENT}:5000    ${STRANGER}:53
    Datagram From Outside Should    come in    ${STRANGER}:53
    Get External Endpoint    ${CLIENT}:5000
    Get Counter    mappings_created    ==    1

Permission Ends Before The Mapping Does
    [Documentation]    DESIGN 4.2: each remote endpoint is a session with a time of its own; the mapping lives with
    ...    the longest.
    [Setup]    Start Dataplane    nat44.filtering=address-and-port-dependent
    Send Udp    ${CLIENT}:5000    ${STRANGER}:53
    Advance Clock    200 seconds
    Datagram From Outside Should    come in    ${SERVER}:53
    Advance Clock    200 seconds
    ${external} =    Get External Endpoint    ${CLIENT}:5000
    ${refused} =    Send Udp    ${STRANGER}:53    ${external}
    Packet Should Be Dropped    ${refused}    filtered

Ping Reply From Elsewhere Is Filtered
    [Documentation]    RFC 5508 section 3: address-dependent filtering holds for queries too.
    [Setup]    Start Dataplane    nat44.filtering=address-dependent
    ${ping} =    Send Query    ${CLIENT}:77    ${SERVER}
    ${external} =    External Endpoint Of    ${ping}
    ${refused} =    Send Query Reply    ${STRANGER}    ${external}
    Packet Should Be Dropped    ${refused}    filtered

Errors Are Not Filtered By Their Sender
    [Documentation]    RFC 4787 REQ-12a: any router on the way may complain.
    [Setup]    Start Dataplane    nat44.filtering=address-and-port-dependent
    ${sent} =    Send Udp    ${CLIENT}:5000    ${SERVER}:53
    ${error} =    Send Icmp Error    ${sent}    ${STRANGER}    time exceeded
    Icmp Error Should Reach    ${error}    ${CLIENT}    about=${sent}

Nothing From Outside Makes A Mapping
    [Documentation]    RFC 4787 section 5, RFC 5382 REQ-4: unsolicited packets end here, without an answer.
    [Setup]    Start Dataplane
    ${datagram} =    Send Udp    ${STRANGER}:53    198.51.100.1:5000
    Packet Should Be Dropped    ${datagram}    no mapping
    ${segment} =    Send Tcp    ${STRANGER}:53    198.51.100.1:5000
    Packet Should Be Dropped    ${segment}    no mapping
    Get Mapping Count    ==    0


*** Keywords ***
Datagram From Outside Should
    [Documentation]    The client speaks to the server; then somebody sends to its external endpoint.
    [Arguments]    ${fate}    ${sender}
    ${sent} =    Send Udp    ${CLIENT}:5000    ${SERVER}:53
    ${external} =    External Endpoint Of    ${sent}
    ${answer} =    Send Udp    ${sender}    ${external}
    Run Keyword    Datagram Should ${fate}    ${answer}    ${sender}

Datagram Should Come In
    [Documentation]    It reached the client.
    [Arguments]    ${answer}    ${sender}
    Packet Should Arrive Inside    ${answer}    at=${CLIENT}:5000    sender=${sender}

Datagram Should Be Filtered
    [Documentation]    It was dropped by the filter and counted there.
    [Arguments]    ${answer}    ${sender}
    Packet Should Be Dropped    ${answer}    filtered
    Log    ${sender} was not let in
