*** Comments ***
SPDX-License-Identifier: Apache-2.0


*** Settings ***
Documentation    How long a mapping lives: RFC 4787 REQ-5 and REQ-6, RFC 5382 REQ-4 and REQ-5, RFC 5508 REQ-2, RFC 7857.
...
...              A mapping is idle for as long as its timeout and is still there; one second later it is not.

Resource         ../resources/dataplane.resource

Test Setup       Start Dataplane
Test Teardown    Stop Dataplane

Test Tags        expiry


*** Test Cases ***
Udp Mapping Lives Until Its Timeout And Not Longer
    [Documentation]    RFC 4787 REQ-5: 300 s unless configured; never early, and a hit on an expired mapping is no
    ...    hit.
    [Template]    Udp Mapping Should
    live    299 seconds
    live    300 seconds
    be gone    301 seconds

Ping Mapping Lives Until Its Timeout And Not Longer
    [Documentation]    RFC 5508 REQ-2: 60 s unless configured.
    [Template]    Ping Mapping Should
    live    60 seconds
    be gone    61 seconds

Packets From Inside Refresh
    [Documentation]    RFC 4787 REQ-6: the idle time begins anew.
    Send Udp    ${CLIENT}:5000    ${SERVER}:53
    Advance Clock    200 seconds
    Send Udp    ${CLIENT}:5000    ${SERVER}:53
    Get Remaining Seconds    ${CLIENT}:5000    ==    300

Packets From Outside Refresh When The Filter Lets Them In
    [Documentation]    RFC 4787 REQ-6a, RFC 7857 section 6.2: what is dropped keeps nothing alive.
    [Setup]    Start Dataplane    nat44.filtering=address-dependent
    ${sent} =    Send Udp    ${CLIENT}:5000    ${SERVER}:53
    ${external} =    External Endpoint Of    ${sent}
    Advance Clock    200 seconds
    Send Udp    ${STRANGER}:53    ${external}
    Get Remaining Seconds    ${CLIENT}:5000    ==    100
    Reply To    ${sent}
    Get Remaining Seconds    ${CLIENT}:5000    ==    300

Established Connection Lives Two Hours And Four Minutes
    [Documentation]    RFC 5382 REQ-5: 7,440 idle seconds.
    [Template]    Connection Should
    live    2 hours 4 minutes
    be gone    2 hours 4 minutes 1 second

Connection Has The Lifetime Of Its State
    [Documentation]    RFC 5382 REQ-5, RFC 7857 section 2: transitory 240 s before the answer, after both FINs and
    ...    after a RST.
    [Template]    Remaining Seconds After Segments
    7440    > PA
    7440    > FA    < A
    240    > FA    < FA    > A
    240    < R
    7440    < R    > PA

Connection From Outside Has Six Seconds To Be Answered
    [Documentation]    RFC 5382 REQ-4, RFC 7857 section 2.1: a SYN from outside keeps the mapping for 6 s, and not
    ...    for 240 s.
    ${external} =    Mapping That Ends In One Second
    Send Tcp    ${STRANGER}:4000    ${external}    S
    Advance Clock    6 seconds
    Segment To Endpoint Should    live    ${external}
    Advance Clock    1 second
    Segment To Endpoint Should    be gone    ${external}

Expired Mapping Gives Way To A New One
    [Documentation]    RFC 4787 REQ-5: after its time an outbound packet makes another mapping.
    Send Udp    ${CLIENT}:5000    ${SERVER}:53
    Advance Clock    301 seconds
    Send Udp    ${CLIENT}:5000    ${SERVER}:53
    Get Counter    mappings_created    ==    2
    Get Counter    mappings_expired    ==    1
    Get Mapping Count    ==    1

Timeouts Are Configurable By Protocol And By Host
    [Documentation]    RFC 4787 REQ-5b, DESIGN 7 (timeouts, policies): the longest inside prefix decides.
    [Setup]    Start Dataplane    nat44.timeouts={udp: 150}
    ...    nat44.policies=[{inside: 10.9.0.0/16, timeouts: {udp: 400}}]
    Send Udp    ${CLIENT}:5000    ${SERVER}:53
    Send Udp    10.9.0.1:5000    ${SERVER}:53
    Get Remaining Seconds    ${CLIENT}:5000    ==    150
    Get Remaining Seconds    10.9.0.1:5000    ==    400

Freed Port Is Not Given To Another Host At Once
    [Documentation]    RFC 6888 REQ-8: held down for 120 s, as long as no more than the configured share is.
    [Setup]    Start Dataplane    nat44.pool=[198.51.100.1]    nat44.hold_down={seconds: 120, max_share: 1.0}
    Send Udp From Ports    20    ${CLIENT}    ${SERVER}:53
    Advance Clock    301 seconds
    Get Gauge    ports_held    ==    20
    Advance Clock    121 seconds
    Get Gauge    ports_held    ==    0


*** Keywords ***
Mapping That Ends In One Second
    [Documentation]    A SYN that nobody answered, 239 seconds ago; returns its external endpoint.
    ${syn} =    Send Tcp    ${CLIENT}:5000    ${SERVER}:80
    Advance Clock    239 seconds
    ${external} =    External Endpoint Of    ${syn}
    RETURN    ${external}

Udp Mapping Should
    [Documentation]    After so long without packets, an answer does or does not get through.
    [Arguments]    ${fate}    ${idle}
    ${sent} =    Send Udp    ${CLIENT}:5000    ${SERVER}:53
    Advance Clock    ${idle}
    ${answer} =    Reply To    ${sent}
    Answer Should    ${fate}    ${answer}

Ping Mapping Should
    [Documentation]    The same for a ping.
    [Arguments]    ${fate}    ${idle}
    ${sent} =    Send Query    ${CLIENT}:77    ${SERVER}
    Advance Clock    ${idle}
    ${answer} =    Reply To    ${sent}
    Answer Should    ${fate}    ${answer}

Connection Should
    [Documentation]    The same for an established connection.
    [Arguments]    ${fate}    ${idle}
    ${connection} =    Open Tcp Connection    ${CLIENT}:5000    ${SERVER}:80
    Advance Clock    ${idle}
    ${answer} =    Send Segments Of    ${connection}    < PA
    Answer Should    ${fate}    ${answer}

Segment To Endpoint Should
    [Documentation]    Somebody sends a segment, which refreshes nothing, to an external endpoint.
    [Arguments]    ${fate}    ${external}
    ${probe} =    Send Tcp    ${STRANGER}:4001    ${external}    A
    Run Keyword    Answer Should ${fate}    ${probe}

Answer Should
    [Documentation]    ``live``: it got through; ``be gone``: there was no mapping for it.
    [Arguments]    ${fate}    ${answer}
    Run Keyword    Answer Should ${fate}    ${answer}
    Delete All Mappings

Answer Should Live
    [Documentation]    It got through.
    [Arguments]    ${answer}
    Packets Should Leave    ${answer}    1

Answer Should Be Gone
    [Documentation]    There was no mapping for it.
    [Arguments]    ${answer}
    Packet Should Be Dropped    ${answer}    no mapping

Remaining Seconds After Segments
    [Documentation]    An established connection sees these segments.
    [Arguments]    ${seconds}    @{segments}
    ${connection} =    Open Tcp Connection    ${CLIENT}:5000    ${SERVER}:80
    Send Segments Of    ${connection}    @{segments}
    Get Remaining Seconds    ${CLIENT}:5000    ==    ${seconds}    proto=tcp
    Delete All Mappings
