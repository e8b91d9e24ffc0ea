*** Comments ***
SPDX-License-Identifier: Apache-2.0


*** Settings ***
Documentation    Fragments, in order and out of order, with a bounded store: RFC 4787 REQ-14, RFC 1858.
...
...              A datagram with 60 bytes of data is sent as three fragments of 24 and 20 bytes. Only the
...              first has the ports.

Resource         ../resources/dataplane.resource

Test Setup       Start Dataplane
Test Teardown    Stop Dataplane

Test Tags        fragments


*** Test Cases ***
Fragments From Inside Arrive As One Datagram
    [Documentation]    RFC 4787 REQ-14: in order and in any other order, with one source and a right checksum over
    ...    the whole.
    [Template]    Fragments From Inside Should Arrive
    1 2 3
    3 2 1
    2 3 1
    2 1 3

Fragments From Outside Arrive As One Datagram
    [Documentation]    RFC 4787 REQ-14: in order and in any other order, towards the inside.
    [Template]    Fragments From Outside Should Arrive
    1 2 3
    3 2 1
    2 3 1

Fragments Pass Between Instances
    [Documentation]    DESIGN 4.3: out2in, the owner is known after the first fragment; with four instances it is
    ...    mostly another.
    [Setup]    Start Dataplane    dataplane.instances={initial: 4, max: 4}
    [Template]    Fragments From Outside Should Arrive
    1 2 3    10.0.0.11
    3 2 1    10.0.0.12
    2 3 1    10.0.0.13
    3 1 2    10.0.0.14

Fragment That Came First Waits For The First One
    [Documentation]    RFC 4787 REQ-14: it is kept, not dropped, and goes on when the ports are known.
    ${early} =    Send Fragments    ${CLIENT}:5000    ${SERVER}:53    order=2 3
    Packets Should Leave    ${early}    0
    ${all} =    Send Fragments    ${CLIENT}:5000    ${SERVER}:53    order=1
    Fragments Should Make Datagram    ${all}    to=${SERVER}:53

Fragment Waits Two Seconds At Most
    [Documentation]    RFC 4787 REQ-14a, DESIGN 7 (timeouts.fragment): what waits in vain is given up, counted, and
    ...    helps nobody later.
    ${early} =    Send Fragments    ${CLIENT}:5000    ${SERVER}:53    order=2 3
    Packets Should Leave    ${early}    0
    Advance Clock    3 seconds
    ${late} =    Send Fragments    ${CLIENT}:5000    ${SERVER}:53    order=1
    Packets Should Leave    ${late}    1
    Get Drop Count    fragment timeout    ==    2

Store For Early Fragments Is Bounded
    [Documentation]    RFC 4787 REQ-14a, DESIGN 8: nobody can fill the memory with fragments; what is beyond is
    ...    counted.
    ${flood} =    Send Fragments    ${STRANGER}:5000    198.51.100.1:53    order=2x100
    Packets Should Leave    ${flood}    0
    Drops Should Be    ${flood}    fragment overflow    36

Tiny First Fragment Is Refused
    [Documentation]    RFC 1858 section 4: a first fragment too short for its ports hides them from every filter.
    ${tiny} =    Send Fragments    ${CLIENT}:5000    ${SERVER}:80    order=1    size=8    proto=tcp
    Packet Should Be Dropped    ${tiny}    fragment invalid


*** Keywords ***
Fragments From Inside Should Arrive
    [Documentation]    Sent in this order, they make the datagram outside.
    [Arguments]    ${order}
    ${sent} =    Send Fragments    ${CLIENT}:5000    ${SERVER}:53    order=${order}
    ${source} =    Fragments Should Make Datagram    ${sent}    to=${SERVER}:53
    Endpoint Should Be Within    ${source}    ${POOL}
    Advance Clock    3 seconds

Fragments From Outside Should Arrive
    [Documentation]    Sent in this order to the external endpoint, they make the datagram inside.
    [Arguments]    ${order}    ${client}=${CLIENT}
    ${opened} =    Send Udp    ${client}:5000    ${SERVER}:53
    ${external} =    External Endpoint Of    ${opened}
    ${sent} =    Send Fragments    ${SERVER}:53    ${external}    order=${order}
    ${source} =    Fragments Should Make Datagram    ${sent}    to=${client}:5000
    Endpoint Should Be Within    ${source}    ${SERVER}/32
    Advance Clock    3 seconds
