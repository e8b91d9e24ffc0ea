*** Comments ***
SPDX-License-Identifier: Apache-2.0


*** Settings ***
Documentation    Scaling without migration: DESIGN 5, the five steps and the three beats.
...
...              Instance 0 has everything and flows that live. Instance 1 is started and gets half of
...              the inside, 10.0.0.0/17 of
...              10.0.0.0/16. No packet is lost, no mapping changes, at no point between.

Resource         ../resources/dataplane.resource

Test Setup       Start Dataplane
Test Teardown    Stop Dataplane

Test Tags        scale-out    instances


*** Variables ***
${MOVED}          10.0.0.0/17
&{FROM_0_TO_1}    giver=0    taker=1


*** Test Cases ***
Instance Starts Without Taking Anything
    [Documentation]    DESIGN 5, steps i and ii: instance 1 runs, instance 0 keeps all traffic.
    ${flows} =    Start Flows    40    10.0.0.0/24    ${SERVER}:53
    Start Instance    1
    Get Instance State    1    ==    active
    Flows Should Go On    ${flows}
    Get Live Host Count    10.0.0.0/8    ==    40    instance=0
    Get Counter    received_in2out    ==    0    instance=1

Free Blocks Are Shared And Mappings Stay
    [Documentation]    DESIGN 5, step iii: shard, 80 % of the free blocks of every address go, 20 % stay.
    ${flows} =    Start Flows    40    10.0.0.0/24    ${SERVER}:53
    ${free} =    Get Gauge    blocks_free    instance=0
    Start Instance    1
    ${given} =    Give Share Of Free Blocks    80    &{FROM_0_TO_1}
    Share Should Be About    ${given}    ${free}    percent=80
    Get Gauge    blocks    ==    ${given}    instance=1
    Flows Should Go On    ${flows}

Live Hosts Are Pinned And New Ones Move
    [Documentation]    DESIGN 5, steps iv and v, all three beats: flows go on where they are, new hosts of the
    ...    range are mapped at 1.
    ${flows} =    Start Flows    40    10.0.0.0/24    ${SERVER}:53
    Instance 1 Takes Over The Moved Range
    Flows Should Go On    ${flows}
    Get Live Host Count    ${MOVED}    ==    40    instance=0
    ${new} =    Start Flows    20    10.0.1.0/24    ${SERVER}:53
    Get Live Host Count    ${MOVED}    ==    20    instance=1
    Flows Should Go On    ${new}

Hosts Outside The Range Do Not Move
    [Documentation]    DESIGN 5: only the moved range has a new owner.
    Instance 1 Takes Over The Moved Range
    Start Flows    20    10.0.128.0/24    ${SERVER}:53
    Get Live Host Count    10.0.128.0/17    ==    20    instance=0
    Get Live Host Count    10.0.0.0/8    ==    0    instance=1

New Flow Of A Pinned Host Stays With Its Host
    [Documentation]    DESIGN 5: a pin is by host first, so that the host keeps its external address.
    ${flows} =    Start Flows    1    10.0.0.0/24    ${SERVER}:53
    Instance 1 Takes Over The Moved Range
    ${sent} =    Send Udp    10.0.0.1:9999    ${STRANGER}:53
    Get Instance Of    10.0.0.1:9999    ==    0
    Source Should Be    ${sent}    ${flows[0].external.addr}

Closing Range Never Gives An Endpoint Two Mappings
    [Documentation]    DESIGN 5, first beat: instance 0 goes on for hosts that it serves and hands all others to 1,
    ...    marked as new.
    ${flows} =    Start Flows    10    10.0.0.0/24    ${SERVER}:53
    Range Is Closing
    Send Udp    10.0.0.1:9999    ${SERVER}:53
    Get Instance Of    10.0.0.1:9999    ==    0
    Send Udp    10.0.1.1:5000    ${SERVER}:53
    Get Instance Of    10.0.1.1:5000    ==    1
    Flows Should Go On    ${flows}

Both Sides Of A Closing Range Are Reached
    [Documentation]    DESIGN 5, first beat: answers to either owner arrive, wherever the dispatcher sends them
    ...    first.
    Range Is Closing
    ${flows} =    Start Flows    30    10.0.1.0/24    ${SERVER}:53
    Get Live Host Count    ${MOVED}    ==    30    instance=1
    Flows Should Go On    ${flows}
    Get Counter    handed_over    >=    30    instance=0

Hosts Read In The Second Beat Are All There Will Be
    [Documentation]    DESIGN 5, second beat: A's live hosts are complete once the range is closing; reading
    ...    changes nothing.
    Start Flows    10    10.0.0.0/24    ${SERVER}:53
    Range Is Closing
    Start Flows    10    10.0.1.0/24    ${SERVER}:53
    ${read} =    Read Hosts To Pin
    Length Should Be    ${read.hosts}    10
    Swap Range    ${read}
    Get Pin Count    ==    10

Home Map Alone Decides, Rules Only Save Hand-Overs
    [Documentation]    DESIGN 4.3: with the dispatcher's old rules every packet still finds its owner, one
    ...    hand-over later.
    Range Is Closing
    Range Is Swapped After Reading Twice
    ${flows} =    Start Flows    20    10.0.1.0/24    ${SERVER}:53
    Get Counter    handed_in    ==    20    instance=1
    Install Rules
    Flows Should Go On    ${flows}
    Get Counter    handed_in    ==    20    instance=1

Each Beat May Be Repeated
    [Documentation]    DESIGN 5: a coordinator that lost an answer, or crashed between two beats, says it again.
    ${flows} =    Start Flows    10    10.0.0.0/24    ${SERVER}:53
    Range Is Closing
    Repeat Home Map
    Range Is Swapped After Reading Twice
    Repeat Home Map
    Flows Should Go On    ${flows}

Older Home Map Is Refused
    [Documentation]    DESIGN 5 and 6: a map is acknowledged with its version; an old coordinator cannot turn time
    ...    back.
    Instance 1 Takes Over The Moved Range
    Older Home Map Should Be Refused

Pin Dies With The Host's Mappings
    [Documentation]    DESIGN 5: a pin is taken back by the same three beats; the host begins anew at the range's
    ...    owner.
    Start Flows    10    10.0.0.0/24    ${SERVER}:53
    Instance 1 Takes Over The Moved Range
    Advance Clock    301 seconds
    Take Back Pins Of Hosts That Are Gone
    Get Pin Count    ==    0
    Send Udp    10.0.0.1:5000    ${SERVER}:53
    Get Instance Of    10.0.0.1:5000    ==    1

Busy Host Is Opened
    [Documentation]    DESIGN 5: its live endpoints stay at 0, its new ones are mapped at 1 with the same external
    ...    address.
    ${flows} =    Start Flows    1    10.0.0.0/24    ${SERVER}:53
    Instance 1 Takes Over The Moved Range
    Host Is Opened Towards Instance 1    10.0.0.1    ${flows[0].external}
    ${sent} =    Send Udp    10.0.0.1:9999    ${STRANGER}:53
    Get Instance Of    10.0.0.1:9999    ==    1
    Source Should Be    ${sent}    ${flows[0].external.addr}
    Flows Should Go On    ${flows}

Scale-In Gives Everything Back
    [Documentation]    DESIGN 5: the reverse, ending with combine: the drained instance turns spare once its last
    ...    mapping and hold-down ended.
    Instance 1 Takes Over The Moved Range
    ${flows} =    Start Flows    20    10.0.1.0/24    ${SERVER}:53
    Instance 1 Gives Everything Back
    Get Instance State    1    ==    draining
    Flows Should Go On    ${flows}
    Instance 1 Should End After Its Mappings

Nothing Is Dropped While All Of It Happens
    [Documentation]    DESIGN 5: out and in again, with traffic between any two steps and one clock that moves.
    ${flows} =    Start Flows    40    10.0.0.0/24    ${SERVER}:53
    Instance 1 Takes Over The Moved Range
    Flows Should Go On After    ${flows}    200 seconds
    Instance 1 Gives Everything Back
    Flows Should Go On After    ${flows}    200 seconds
    Get All Drops    ==    0

Taken Over Instance Drops Its Mappings Before Its Next Packet
    [Documentation]    DESIGN 5, failure: the ownership epoch is raised; what it had is gone, what others have is
    ...    not.
    Instance 1 Takes Over The Moved Range
    ${lost} =    Start Flows    10    10.0.1.0/24    ${SERVER}:53
    ${kept} =    Start Flows    10    10.0.128.0/24    ${SERVER}:53
    Take Over Instance    1
    Flows Should Have Ended    ${lost}
    Flows Should Go On    ${kept}

Blocks Move Between Instances On Request
    [Documentation]    DESIGN 5, refill across hosts, and 6 (transfer): only free ones, of one address where that
    ...    is asked.
    Start Instance    1
    ${moved} =    Give Free Blocks    50    &{FROM_0_TO_1}    external=198.51.100.2
    Should Be Equal    ${moved}    ${50}
    Get Gauge    blocks_free    ==    50    instance=1
    Give Free Blocks    50    giver=1    taker=0
    Get Gauge    blocks_free    ==    0    instance=1


*** Keywords ***
Range Is Swapped After Reading Twice
    [Documentation]    The second beat is made twice and reads the same; then the third.
    ${read} =    Read Hosts To Pin
    ${again} =    Read Hosts To Pin
    Should Be Equal    ${read}    ${again}
    Swap Range    ${again}

Instance 1 Should End After Its Mappings
    [Documentation]    Mappings, pins and hold-down end; then nothing is left that keeps it.
    Advance Clock    10 minutes
    Take Back Pins Of Hosts That Are Gone
    Advance Clock    3 minutes
    Get Instance State    1    ==    spare
    Get Gauge    blocks    ==    0    instance=1

Range Is Closing
    [Documentation]    Instance 1 runs with blocks of its own; the first beat was made.
    Start Instance    1
    Give Share Of Free Blocks    80    &{FROM_0_TO_1}
    Close Range    ${MOVED}    &{FROM_0_TO_1}

Instance 1 Takes Over The Moved Range
    [Documentation]    The five steps.
    Range Is Closing
    ${read} =    Read Hosts To Pin
    Swap Range    ${read}
    Install Rules

Host Is Opened Towards Instance 1
    [Documentation]    The three beats for one pinned host.
    [Arguments]    ${host}    ${external}
    Close Host By Endpoint    ${host}    ${external}    taker=1
    ${read} =    Read Hosts To Pin
    Swap Range    ${read}
    Install Rules

Instance 1 Gives Everything Back
    [Documentation]    The three beats for all that instance 1 has, and its end begins.
    Close All Ranges    giver=1    taker=0
    ${read} =    Read Hosts To Pin
    Swap Range    ${read}
    Install Rules
    Drain Instance    1

Flows Should Go On After
    [Documentation]    Some time passes, less than any timeout.
    [Arguments]    ${flows}    ${time}
    Advance Clock    ${time}
    Flows Should Go On    ${flows}
