*** Comments ***
SPDX-License-Identifier: Apache-2.0


*** Settings ***
Documentation    ICMP queries and errors: RFC 5508.
...
...              An error quotes the packet that it is about. Its receiver must find there what it has
...              sent itself, byte
...              for byte, or it cannot know which of its connections is meant.

Resource         ../resources/dataplane.resource

Test Setup       Start Dataplane
Test Teardown    Stop Dataplane

Test Tags        icmp


*** Test Cases ***
Ping Goes Out And Its Reply Comes Back
    [Documentation]    RFC 5508 REQ-1: a query from inside goes out under an id of the pool; the reply finds back.
    ${ping} =    Send Query    ${CLIENT}:77    ${SERVER}
    ${external} =    External Endpoint Of    ${ping}
    Endpoint Should Be Within    ${external}    ${POOL}
    ${reply} =    Reply To    ${ping}
    Packet Should Arrive Inside    ${reply}    at=${CLIENT}:77    sender=${SERVER}:77

Query Id Does Not Depend On The Destination
    [Documentation]    RFC 5508 REQ-1a: one external id for all destinations of a query id.
    ${one} =    Send Query    ${CLIENT}:77    ${SERVER}
    ${two} =    Send Query    ${CLIENT}:77    ${STRANGER}
    ${first} =    External Endpoint Of    ${one}
    ${second} =    External Endpoint Of    ${two}
    Should Be Equal    ${first}    ${second}

Timestamp Queries Are Queries Too
    [Documentation]    RFC 5508 section 3: translated like echo.
    ${query} =    Send Query    ${CLIENT}:78    ${SERVER}    timestamp
    ${reply} =    Reply To    ${query}
    Packet Should Arrive Inside    ${reply}    at=${CLIENT}:78    sender=${SERVER}:78

Reply Without A Query Makes No Mapping
    [Documentation]    RFC 5508 REQ-1: only queries open a mapping.
    ${reply} =    Send Query Reply    ${CLIENT}    ${SERVER}:77
    Packets Should Leave    ${reply}    0
    Get Mapping Count    ==    0

Error From Outside Reaches The Sender With Its Own Packet
    [Documentation]    RFC 5508 REQ-4, RFC 792: for each type, and whether the quote is whole or only what RFC 792
    ...    asks for.
    [Template]    Error From Outside Should Reach The Sender
    port unreachable    whole
    port unreachable    shortest
    host unreachable    shortest
    fragmentation needed    shortest
    time exceeded    whole
    time exceeded    shortest
    parameter problem    shortest

Error About A Tcp Segment And About A Ping
    [Documentation]    RFC 5382 REQ-9, RFC 5508 REQ-4: not only datagrams are reported about.
    ${segment} =    Send Tcp    ${CLIENT}:5000    ${SERVER}:80
    ${error} =    Send Icmp Error    ${segment}    ${ROUTER}    host unreachable    shortest
    Icmp Error Should Reach    ${error}    ${CLIENT}    about=${segment}
    ${ping} =    Send Query    ${CLIENT}:77    ${SERVER}
    ${error} =    Send Icmp Error    ${ping}    ${ROUTER}    time exceeded
    Icmp Error Should Reach    ${error}    ${CLIENT}    about=${ping}

Error From Inside Hides The Inside
    [Documentation]    RFC 5508 REQ-5: the error comes from an address of the pool and quotes what the remote host
    ...    sent.
    ${sent} =    Send Udp    ${CLIENT}:5000    ${SERVER}:53
    ${external} =    External Endpoint Of    ${sent}
    ${answer} =    Reply To    ${sent}
    ${error} =    Send Icmp Error    ${answer}    ${CLIENT}
    Icmp Error Should Reach    ${error}    ${SERVER}    about=${answer}
    Source Should Be    ${error}    ${external.addr}

Quoted Ip Options Are Skipped
    [Documentation]    RFC 5508 REQ-3b: the ports of a quoted packet stand behind its options. (VPP does not forward
    ...    the packet that would be quoted.)
    [Tags]    dataplane:embedded
    ${sent} =    Send Udp    ${CLIENT}:5000    ${SERVER}:53    options=94040000
    ${error} =    Send Icmp Error    ${sent}    ${ROUTER}    time exceeded    shortest
    Icmp Error Should Reach    ${error}    ${CLIENT}    about=${sent}

Error With A Damaged Quote Is Dropped
    [Documentation]    RFC 5508 REQ-3a: a quote that is cut short, or whose header checksum is wrong, is not
    ...    believed.
    [Template]    Error With Quote Should Be Dropped
    cut
    broken

Error About Nothing That We Sent Is Dropped
    [Documentation]    RFC 5508 REQ-4: without a mapping there is nobody to tell; DESIGN 8: GRE and IP-in-IP do no
    ...    harm.
    [Template]    Error About Protocol Should Be Dropped
    47
    4
    50

Error Neither Refreshes Nor Ends A Mapping
    [Documentation]    RFC 4787 REQ-12, RFC 5508 REQ-6: nobody can keep or kill a mapping by errors.
    ${sent} =    Send Udp    ${CLIENT}:5000    ${SERVER}:53
    Advance Clock    200 seconds
    ${error} =    Send Icmp Error    ${sent}    ${ROUTER}
    Icmp Error Should Reach    ${error}    ${CLIENT}    about=${sent}
    Get Remaining Seconds    ${CLIENT}:5000    ==    100


*** Keywords ***
Error From Outside Should Reach The Sender
    [Documentation]    The client's datagram meets a router that complains.
    [Arguments]    ${kind}    ${quote}
    ${sent} =    Send Udp    ${CLIENT}:5000    ${SERVER}:33434
    ${error} =    Send Icmp Error    ${sent}    ${ROUTER}    ${kind}    ${quote}
    Icmp Error Should Reach    ${error}    ${CLIENT}    about=${sent}
    Source Should Be    ${error}    ${ROUTER}

Error With Quote Should Be Dropped
    [Documentation]    The quote cannot be believed.
    [Arguments]    ${quote}
    ${sent} =    Send Udp    ${CLIENT}:5000    ${SERVER}:53
    ${error} =    Send Icmp Error    ${sent}    ${ROUTER}    port unreachable    ${quote}
    Packet Should Be Dropped    ${error}    icmp malformed

Error About Protocol Should Be Dropped
    [Documentation]    A router complains about a packet that this NAT cannot have sent.
    [Arguments]    ${number}
    ${error} =    Send Icmp Error About Protocol    ${number}    198.51.100.1    ${SERVER}    ${ROUTER}
    Packet Should Be Dropped    ${error}    icmp no mapping
