@two-hosts
Feature: Two machines, each with a network of its own

  Scenario: The whole way from an address to an answer, with nothing but SSH open
    Given two machines that a cable joins
    When I run `rbee-keeper setup add-node --name attic <its address> --hive-port <its hive port>`
    Then the exit code is 0
    Given a queen runs beside me
    When I run `rbee-keeper infer --node attic --prompt "write a short story" --temperature 0`
    Then the exit code is 0
    And stdout is the greedy story
    And hive and worker of the machine listen on the loopback address only
    And the machine's SSH port is its only one that the network reaches
    When the queen gets SIGTERM
    Then nothing runs on the machine after at most 1 s

  @L078 @L081
  Scenario Outline: The way between them is lost in mid-stream, and comes back
    Given two machines that a cable joins, and workers that follow this script:
      """
      {"trickleMs": 300}
      """
    And the time limit ssh_connect is 1500ms
    When I run `rbee-keeper setup add-node --name attic <its address> --hive-port <its hive port>`
    Then the exit code is 0
    Given a queen runs beside me
    When I start `rbee-keeper infer --node attic --prompt "hello"`
    And it has written to stdout
    And <loss>
    Then the exit code is 1
    And it ended within 6 s of the cut
    And stdout is not empty
    And stderr shows "rbee-partial-"
    When I run `rbee-keeper infer --node attic --prompt "hello"`
    Then the exit code is 1
    And stdout is empty
    And stderr shows "attic|10.77.0.2"
    When I run `rbee-keeper hive status --node attic`
    Then stdout shows "unreachable"
    When <return>
    Then the keeper comes to see "attic" as "running"
    When I run `rbee-keeper infer --node attic --prompt "hello"`
    Then the exit code is 0
    And stdout shows "one two three"

    Examples:
      | loss                                  | return                            |
      | the cable is pulled                   | the cable is plugged in again     |
      | the machine's answers get lost        | the machine's answers come again  |

  @L001
  Scenario: A machine behind a pulled cable is not stored
    Given two machines that a cable joins
    And the time limit ssh_connect is 300ms
    When the cable is pulled
    And I run `rbee-keeper setup add-node --name attic <its address>`
    Then the exit code is 1
    And stdout shows "attempt 3/3 after 400 ms"
    And stderr shows "ping <its host>"
    And no node is registered
