*** Comments ***
SPDX-License-Identifier: Apache-2.0


*** Settings ***
Documentation     The commands as users run them: DESIGN 7 and 8.
...
...               Exit code 0: done; 1: failed; 2: wrong usage or configuration. A complaint is a sentence
...               that says what to do.

Resource          ../resources/dataplane.resource

Suite Teardown    Remove Files

Test Tags         commands    dataplane:embedded


*** Test Cases ***
Good Configuration Is Summed Up
    [Documentation]    DESIGN 7: `hashmvt check` says what a configuration amounts to.
    ${file} =    Write Configuration
    ${done} =    Run Hashmvt    check    ${file}    --json
    Command Should Succeed    ${done}
    ${report} =    Json Of    ${done}
    Should Be Equal    ${report}[ok]    ${True}
    Should Be Equal    ${report}[summary][addresses]    ${4}

Bad Configuration Is Refused With Line, Reason And Remedy
    [Documentation]    DESIGN 8: it starts nothing; each row is a mistake and what must be said of it.
    [Template]    Configuration Should Be Refused
    pol    nat44.pol=[198.51.100.0/30]
    overlaps    nat44.pool=[10.0.0.0/30]
    empty    nat44.pool=[]
    power of two    nat44.block_size=48
    inside    nat44.inside=10.0.0.999/8
    pool    nat44.pool=REMOVED
    1024    nat44.ports=70000-80000
    more than max    dataplane.instances={initial: 8, max: 4}
    filtering    nat44.filtering=none
    udp    nat44.timeouts={udp: soon}
    static    nat44.static=[{inside: "10.0.0.1:80", outside: "198.51.100.1"}]

Missing Configuration Is Named
    [Documentation]    DESIGN 8: one clear sentence, exit code 2.
    ${file} =    Missing File
    ${done} =    Run Hashmvt    check    ${file}
    Command Should Fail    ${done}    2    ${file}
    Complaint Should Be One Line    ${done}

Wrong Usage Is Told Where Help Is
    [Documentation]    DESIGN 7: exit code 2, and -h on each command is enough to use it.
    [Template]    Usage Should Be Refused
    hashmvt -h    no-such-command
    replay -h    replay
    replay -h    replay    --instances    1000    in.pcap    out.pcap
    check -h    check

Capture Is Translated
    [Documentation]    DESIGN 7: `hashmvt replay` reads each link layer and format and writes what leaves the NAT.
    [Template]    Capture Should Be Translated
    ethernet    pcap
    raw    pcap
    cooked    pcap
    ethernet    pcapng

Replay Is Repeatable
    [Documentation]    DESIGN 7: for given input, seed and number of instances the output is the same byte for
    ...    byte.
    ${in} =    Write Capture    100
    ${one} =    Replay To New File    ${in}    --seed    7
    ${two} =    Replay To New File    ${in}    --seed    7
    Files Should Be Equal    ${one}    ${two}

Replay Shares The Work
    [Documentation]    DESIGN 7 (--instances): several instances, nothing lost between them.
    ${in} =    Write Capture    200
    ${out} =    Replay To New File    ${in}    --instances    4
    ${count} =    Translated Packets Of    ${out}
    Should Be Equal    ${count}    ${200}

Capture That Is Cut Is Read As Far As It Goes
    [Documentation]    DESIGN 8: what was read is written, exit code 1, the offset is named.
    ${in} =    Write Capture    10
    Cut File    ${in}    off=5
    ${out} =    Missing File    .pcap
    ${done} =    Replay    ${in}    ${out}
    Command Should Fail    ${done}    1    offset
    ${count} =    Translated Packets Of    ${out}
    Should Be Equal    ${count}    ${9}

Replay Of What Is No Capture
    [Documentation]    DESIGN 8: exit code 1, the file is named, and no output is left.
    [Template]    Replay Should Fail
    missing
    text
    empty

Replay Without A Good Configuration
    [Documentation]    DESIGN 8: exit code 2, nothing is written.
    ${in} =    Write Capture    1
    ${config} =    Write Configuration    nat44.block_size=48
    ${out} =    Missing File    .pcap
    ${done} =    Run Hashmvt    replay    ${in}    ${out}    -c    ${config}
    Command Should Fail    ${done}    2    power of two
    File Should Not Exist    ${out}


*** Keywords ***
Configuration Should Be Refused
    [Documentation]    With this setting the check fails, and names the file and what is wrong.
    [Arguments]    ${part}    ${setting}
    ${file} =    Write Configuration    ${setting}
    ${done} =    Run Hashmvt    check    ${file}
    Command Should Fail    ${done}    2    ${file}:    ${part}
    Complaint Should Be One Line    ${done}

Usage Should Be Refused
    [Documentation]    These words are no command; the complaint says where help is.
    [Arguments]    ${help}    @{words}
    ${done} =    Run Hashmvt    @{words}
    Command Should Fail    ${done}    2    ${help}
    Complaint Should Be One Line    ${done}

Replay
    [Documentation]    Replay with the base configuration.
    [Arguments]    ${in}    ${out}    @{options}
    ${config} =    Write Configuration
    ${done} =    Run Hashmvt    replay    ${in}    ${out}    -c    ${config}    @{options}
    RETURN    ${done}

Replay To New File
    [Documentation]    Replay, which must succeed, and return the output's path.
    [Arguments]    ${in}    @{options}
    ${out} =    Missing File    .pcap
    ${done} =    Replay    ${in}    ${out}    @{options}
    Command Should Succeed    ${done}
    RETURN    ${out}

Capture Should Be Translated
    [Documentation]    All of its packets come out, from the pool, with right checksums.
    [Arguments]    ${link}    ${format}
    ${in} =    Write Capture    20    link=${link}    file_format=${format}
    ${out} =    Replay To New File    ${in}
    ${count} =    Translated Packets Of    ${out}
    Should Be Equal    ${count}    ${20}

Replay Should Fail
    [Documentation]    There is nothing to replay.
    [Arguments]    ${what}
    ${in} =    Bad Capture    ${what}
    ${out} =    Missing File    .pcap
    ${done} =    Replay    ${in}    ${out}
    Command Should Fail    ${done}    1    ${in}
    Complaint Should Be One Line    ${done}
    File Should Not Exist    ${out}
