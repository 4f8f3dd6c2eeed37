Feature: The hive of another machine is checked before work is given to it

  @S13
  Scenario: A hive of another version is refused, with both versions and what to upgrade
    Given a machine over SSH
    And the machine is registered as "attic"
    And a hive of version "0.2.0" on the machine
    When I run `rbee-keeper infer --node attic --prompt "hello"`
    Then the exit code is 1
    And stdout is empty
    And stderr shows "0.2.0"
    And stderr shows "0.1.0"
    And stderr shows "VERSION_MISMATCH"
    And stderr shows "upgrade"
    And no queen is running

  @S43
  Scenario Outline: Both versions are told, and the command that brings the older side up
    Given a machine over SSH
    And the machine is registered as "attic"
    And a hive of version "<hive>" on the machine
    When I run `rbee-keeper infer --node attic --prompt "hello"`
    Then the exit code is 1
    And stdout is empty
    And stderr tells in order:
      | attic      |
      | <hive>     |
      | 0.1.0      |
      | <command>  |

    Examples:
      | hive  | command                                |
      | 0.2.0 | git pull && npx --yes pnpm@            |
      | 0.0.9 | rbee-keeper setup install --node attic |

  @S13
  Scenario: An older hive is brought to the right version by an installation
    Given a machine over SSH
    And the machine is registered as "attic"
    And a hive of version "0.0.9" on the machine
    When I run `rbee-keeper infer --node attic --prompt "hello"`
    Then the exit code is 1
    And stderr shows "0.0.9"
    And stderr shows "rbee-keeper setup install --node attic"

  @S14
  Scenario: A hive without SSH that does not answer any more
    Given somebody runs a hive that I may use with a key
    And a queen runs
    When I run `rbee-keeper setup add-node --name shared --hive-url <noted hive URL> --hive-token-file ~/shared.token`
    Then the exit code is 0
    And the registry's row of "shared" has:
      """
      {"ssh_host": null, "hive_url": "<noted hive URL>", "hive_token_file": "<home>/shared.token", "status": "reachable"}
      """
    When that hive ends
    And I run `rbee-keeper infer --node shared --prompt "hello"`
    Then the exit code is 1
    And stdout is empty
    And stderr tells in order:
      | attempt 1/3, timeout 10 s  |
      | attempt 2/3 after 200 ms   |
      | attempt 3/3 after 400 ms   |
      | CONNECTION_TIMEOUT         |
      | heck that the hive runs    |
    When I post this task for JSON:
      """
      {"node": "shared", "prompt": "hello"}
      """
    Then the answer is 503 with the code CONNECTION_TIMEOUT
    When I run `rbee-keeper setup list-nodes`
    Then stdout shows "unreachable"

  @S14
  Scenario: A hive that takes connections and says nothing: three attempts of their full time
    Given somebody runs a hive that I may use with a key
    And the time limit hive_connect is 300ms
    And the time limit hive_silence is 2000ms
    And a queen runs
    When I run `rbee-keeper setup add-node --name shared --hive-url <noted hive URL> --hive-token-file ~/shared.token`
    Then the exit code is 0
    When that hive stands still
    Then the queen sees "shared" as unreachable within 10 s
    When I run `rbee-keeper infer --node shared --prompt "hello"`
    Then the exit code is 1
    And stdout is empty
    And stderr tells in order:
      | attempt 1/3, timeout 300 ms |
      | attempt 2/3 after 200 ms    |
      | attempt 3/3 after 400 ms    |
      | CONNECTION_TIMEOUT          |
      | heck that the hive runs     |

  @L008
  Scenario: A hive that answers broken JSON
    Given a machine over SSH
    And the machine is registered as "attic"
    And a hive on the machine that answers everything with:
      """
      {"status": "alive", "version": oops}
      """
    And a queen runs
    When I run `rbee-keeper infer --node attic --prompt "hello"`
    Then the exit code is 1
    And stdout is empty
    And stderr shows "position 31|line 1"
    And stderr shows "restart"
    When I post this task for JSON:
      """
      {"node": "attic", "prompt": "hello"}
      """
    Then the answer is 502 with the code INVALID_RESPONSE

  @L009 @L010 @L011
  Scenario: Version, backends and resources of a hive are looked at and told
    Given a machine with 8000 MB of free memory and the backends "cpu, cuda"
    And a node "attic" over SSH
    And a queen runs
    When I post this task:
      """
      {"node": "attic", "prompt": "hello"}
      """
    Then the stream ends with "end"
    And the narration "hive_preflight" mentions "version 0.1.0"
    And the narration "hive_preflight" mentions "cpu"
    And the narration "hive_preflight" mentions "cuda"
    And the narration "hive_preflight" mentions "8000 MB"

  @L010 @L011
  Scenario: A hive over SSH answers which backends and resources it has
    Given a machine with 8000 MB of free memory and the backends "cpu, cuda"
    And a node "attic" over SSH
    And a queen runs
    When I run `rbee-keeper hive start --node attic`
    Then the exit code is 0
    And GET /v1/backends/list of the hive answers at least:
      """
      {"backends": [{"name": "cpu", "available": true, "devices": 1}, {"name": "cuda", "available": true, "devices": 2}]}
      """
    And GET /v1/resources of the hive answers at least:
      """
      {"ram_available_mb": 8000, "disk_available_mb": 400000}
      """
    When I run `rbee-keeper infer --node attic --backend metal --prompt "hello"`
    Then the exit code is 1
    And stderr shows "metal"
    And stderr shows "cuda"
