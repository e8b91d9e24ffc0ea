*** Comments ***
SPDX-License-Identifier: Apache-2.0


*** Settings ***
Documentation    What HashMVT promises to the hosts on both of its sides, and to its operator.
...
...              Each test names the clause or the promise that it shows. Time is the dataplane's own and
...              is moved, nobody
...              sleeps. Every packet that comes out is checked down to its last checksum, whatever the
...              test says of it.

Test Tags        nat44
