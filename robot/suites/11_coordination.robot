*** Comments ***
SPDX-License-Identifier: Apache-2.0


*** Settings ***
Documentation    The coordinator that scales: DESIGN 5 and 6.
...
...              It decides by thresholds and carries out the five steps, one at a time. After each step a
...              packet of every flow goes through each way: none is lost, no mapping has changed.

Resource         ../resources/dataplane.resource

Test Setup       Start Dataplane With Coordinator
Test Teardown    Stop Dataplane

Test Tags        coordination    instances


*** Test Cases ***
Scale-Out Can Be Followed Step By Step
    [Documentation]    DESIGN 5: the five steps stand in the log, in their order, and flows go on between any two.
    ${flows} =    Start Flows    40    10.0.0.0/24    ${SERVER}:53
    Order Scale Out
    Flows Should Go On While Coordinator Works    ${flows}
    Coordinator Log Should Say    (i)    (ii)    (iii)    (iv)    (v)
    Home Map And Rules Should Agree
    Get Instance State    1    ==    active

New Hosts Go To The New Instance
    [Documentation]    DESIGN 5, step v: live hosts stay where they are, those of the moved half that are new do not.
    ${flows} =    Start Flows    30    10.0.0.0/24    ${SERVER}:53
    ${others} =    Start Flows    30    10.1.0.0/24    ${SERVER}:53
    Order Scale Out
    Flows Should Go On While Coordinator Works    ${flows}
    Start Flows    20    10.0.7.0/24    ${SERVER}:53
    Start Flows    20    10.1.7.0/24    ${SERVER}:53
    Get Live Host Count    10.0.0.0/8    ==    20    instance=1
    Flows Should Go On    ${others}

Coordinator May Vanish Between Any Two Steps
    [Documentation]    DESIGN 5: each beat survives a crash of the coordinator; its successor finds what is left to do.
    ${flows} =    Start Flows    40    10.0.0.0/24    ${SERVER}:53
    Order Scale Out
    Flows Should Go On While Coordinator Works    ${flows}    replaced=True
    Home Map And Rules Should Agree
    Get Instance State    1    ==    active

Load Above The Threshold Scales Out Once
    [Documentation]    DESIGN 5 and 7 (coordinator.cpu): one trigger gives one scale-out until load was measured afresh.
    ${flows} =    Start Flows    40    10.0.0.0/24    ${SERVER}:53
    Report Load    0    0.95
    Coordinator Should Begin Scale Out
    Report Load    0    0.5
    Flows Should Go On While Coordinator Works    ${flows}
    Get Instance State    1    ==    active
    Get Instance State    2    ==    spare

Load Below The Threshold Changes Nothing
    [Documentation]    DESIGN 5: lack of work is no reason to move it, nor is a load that is carried well.
    Start Flows    40    10.0.0.0/24    ${SERVER}:53
    Report Load    0    0.79
    Coordinator Should Rest
    Get Instance State    1    ==    spare

Scale-In Ends With Combine
    [Documentation]    DESIGN 5: the instance gives its ranges and free blocks back while its flows go on.
    ${flows} =    Start Flows    40    10.0.0.0/24    ${SERVER}:53
    Order Scale Out
    Flows Should Go On While Coordinator Works    ${flows}
    Order Scale In    1
    Flows Should Go On While Coordinator Works    ${flows}
    Instance Should Be Spare Or Draining    1
    Home Map And Rules Should Agree

Nothing Is Dropped From The First Step To The Last
    [Documentation]    DESIGN 5: no packet is lost at any step, out and in again.
    ${flows} =    Start Flows    40    10.0.0.0/24    ${SERVER}:53
    Order Scale Out
    Flows Should Go On While Coordinator Works    ${flows}
    Order Scale In    1
    Flows Should Go On While Coordinator Works    ${flows}
    Get All Drops    ==    0


*** Keywords ***
Start Dataplane With Coordinator
    [Documentation]    One active instance of four, and a coordinator that knows it.
    Start Dataplane
    Start Coordinator

Coordinator Should Begin Scale Out
    [Documentation]    Two measurements, then it begins.
    Take Coordinator Step
    ${done} =    Take Coordinator Step
    Should Be Equal    ${done}    Begin

Instance Should Be Spare Or Draining
    [Documentation]    It is no longer active.
    [Arguments]    ${instance}
    ${state} =    Get Instance State    ${instance}    !=    active
    Log    ${state}
